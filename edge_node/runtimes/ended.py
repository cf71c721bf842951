"""How a runtime ends that does not answer: it takes its process down, or it never comes back."""

from __future__ import annotations

from littoral.errors import RuntimeFailure


class RuntimeCrash(RuntimeFailure):
    """The work took its whole process down, or hung."""

    code = "runtime-crash"


class RuntimeHang(RuntimeFailure):
    """An inference took longer than is allowed and was ended."""

    code = "runtime-hang"
    retryable = True
