"""What a model did to its runtime since the agent started, and whether it has proved itself. No clock, no disk."""

from __future__ import annotations

from littoral_node.serving.slots import Served
from littoral_node.supervision.failures import HANGS, HANGS_WITHIN_S, PROVED_S


class ModelIncidents:
    """Of one model. `incident`: the last one, for an operator; `hangs`: inferences that were ended because they took too long."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.incident = ""
        self.hangs = 0
        self._hung_at: list[float] = []
        self._since: tuple[str, float, int] | None = None  # what is served, since when this sees it, answers until then

    def note(self, message: str) -> None:
        self.incident = f"{self._model}: {message}"

    def hung(self, digest: str, limit_s: float, now: float) -> int:
        """Counts one more hang; gives how many there were within HANGS_WITHIN_S, at most HANGS."""
        self.hangs += 1
        self._hung_at = [*(at for at in self._hung_at if now - at < HANGS_WITHIN_S), now][-HANGS:]
        self.note(f"{digest[:19]} took longer than {limit_s:g} s for an inference (number {self.hangs})")
        return len(self._hung_at)

    def forget_hangs(self) -> None:
        """Another artifact serves."""
        self._hung_at = []

    def proved(self, served: Served | None, answered: int, now: float) -> str:
        """Digest of what has served from the agent's own process for PROVED_S since this saw it first, and has answered.

        Args:
            answered: requests of this model since the agent's start.

        Empty: nothing has.
        """
        if served is None or served.isolated:
            self._since = None
            return ""
        if self._since is None or self._since[0] != served.manifest_digest:
            self._since = (served.manifest_digest, now, answered)
        digest, since, before = self._since
        return digest if now - since >= PROVED_S and answered > before else ""
