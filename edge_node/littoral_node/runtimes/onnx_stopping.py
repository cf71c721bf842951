"""An onnxruntime session whose runs can be ended from another thread."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any


class StoppableSession:
    """As InferenceSession.run. All runs at one time share their options, which costs nothing; see RunOptions.terminate."""

    def __init__(self, session: Any) -> None:
        self._session: Any = session
        self._new: Any = importlib.import_module("onnxruntime").RunOptions
        self._options: Any = self._new()

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Any]) -> Any:
        return self._session.run(outputs, feeds, self._options)

    def stop(self) -> None:
        """Ends the runs that are under way, between two operations; those that begin after this go on."""
        running, self._options = self._options, self._new()
        running.terminate = True
