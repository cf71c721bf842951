"""Refusals in the audit trail: each one, up to a rate for each caller, so that a caller cannot fill it. The next line counts
those over the rate.

Example: a script with a viewer's token asks for a rollout 1,000 times within a second. The trail gets 30 lines. A minute later it
asks once more: that line has `left_out` 970.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from littoral_cloud.fleet.allowance import Bucket
from littoral_cloud.fleet.ledger import Audit
from littoral_cloud.trust.people import Caller, details

AT_ONCE = 30
PER_SECOND = 0.1
_CALLERS = 1_000
"""That are remembered; the one that was refused longest ago is forgotten first."""


@dataclass(slots=True)
class _RefusedCaller:
    bucket: Bucket = field(default_factory=lambda: Bucket(PER_SECOND, AT_ONCE))
    left_out: int = 0


class RefusalLines:
    """Of one process."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _RefusedCaller] = OrderedDict()

    def __len__(self) -> int:
        """Callers that are remembered."""
        return len(self._callers)

    def line(self, caller: Caller, name: str, now: float) -> Audit | None:
        """The line for one refusal; None: it is only counted.

        Args:
            name: of the use case.
            now: seconds; a clock that goes back gives nothing more.
        """
        who = caller.id or caller.name
        refused = self._callers.pop(who, None) or _RefusedCaller()
        self._callers[who] = refused
        if len(self._callers) > _CALLERS:
            self._callers.popitem(last=False)
        if refused.bucket.left(now) < 1:
            refused.left_out += 1
            return None
        refused.bucket.take(1, now)
        about = {**details(caller), **({"left_out": refused.left_out} if refused.left_out else {})}
        refused.left_out = 0
        return Audit("access.denied", name, caller.name, about)
