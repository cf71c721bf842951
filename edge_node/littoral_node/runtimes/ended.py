"""How a runtime ends that does not answer: it takes its process down, it never comes back, or it does not take the values."""

from __future__ import annotations

from littoral.errors import RuntimeFailure


class RuntimeCrash(RuntimeFailure):
    """The work took its whole process down, or hung."""

    code = "runtime-crash"


class RuntimeHang(RuntimeFailure):
    """An inference took longer than is allowed and was ended."""

    code = "runtime-hang"
    retryable = True


class BadValues(RuntimeFailure):
    """A runtime calls the values of one request an invalid argument: the client's fault, not the model's."""

    code = "bad-values"
