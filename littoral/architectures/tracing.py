"""A network's graph by torch.fx, while other threads train.

torch.fx traces by replacing `nn.Module.__call__` for the whole process: a network that is trained in another thread meanwhile
would end with "module is not installed as a submodule", and two traces at once would put each other's replacement back for good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

_TRACING = threading.RLock()


class _Tracer(fx.Tracer):
    """Records what its own thread calls; others' calls go on as they were."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def traced(network: nn.Module) -> fx.GraphModule:
    """Its graph, over the network's own layers. Raises fx.proxy.TraceError where what it does depends on the values given."""
    with _TRACING:
        return fx.GraphModule(network, _Tracer().trace(network), type(network).__name__)
