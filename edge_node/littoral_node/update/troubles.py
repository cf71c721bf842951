"""What a model did to its runtime since the agent began, and whether it has proved itself meanwhile. No clock, no disk."""

from __future__ import annotations

from littoral_node.serving.slots import Served
from littoral_node.supervision.crashes import PROVED_S

HANGS, WITHIN_S = 3, 3_600.0
"""So many inferences that hang, in so many seconds, and a model is given up."""


class Troubles:
    """Of one model. `incident`: the last one, for an operator; `hangs`: inferences that were ended because they took too long."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.incident = ""
        self.hangs = 0
        self._hung_at: list[float] = []
        self._since: tuple[str, float, int] | None = None  # what is served, since when it is seen, answers until then

    def note(self, words: str) -> None:
        self.incident = f"{self._model}: {words}"

    def hung(self, digest: str, limit_s: float, now: float) -> bool:
        """One more hang; True where that is too many."""
        self.hangs += 1
        self._hung_at = [*(at for at in self._hung_at if now - at < WITHIN_S), now][-HANGS:]
        self.note(f"{digest[:19]} took longer than {limit_s:g} s for an inference (number {self.hangs})")
        return len(self._hung_at) >= HANGS

    def forget_hangs(self) -> None:
        """Another artifact serves."""
        self._hung_at = []

    def proved(self, served: Served | None, answered: int, now: float) -> str:
        """Digest of what has served from the agent itself for PROVED_S since this first saw it, and has answered; empty: none.

        Args:
            answered: requests of this model, since the agent's start.
        """
        if served is None or served.apart:
            self._since = None
            return ""
        if self._since is None or self._since[0] != served.manifest_digest:
            self._since = (served.manifest_digest, now, answered)
        digest, since, before = self._since
        return digest if now - since >= PROVED_S and answered > before else ""
