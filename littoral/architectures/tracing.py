"""Traces a network's graph by torch.fx while other threads train.

torch.fx traces by replacing `nn.Module.__call__` in the whole process: training in another thread would fail with "module is not
installed as a submodule", and two traces at once would restore each other's replacement for good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

_TRACING = threading.RLock()


class _Tracer(fx.Tracer):
    """Records the calls of its own thread alone."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def traced(network: nn.Module) -> fx.GraphModule:
    """The graph, over the network's own layers. Raises fx.proxy.TraceError where the operations depend on the input."""
    with _TRACING:
        return fx.GraphModule(network, _Tracer().trace(network), type(network).__name__)
