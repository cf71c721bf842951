"""What can happen to an update, and what its table asks for in return: plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Findings:
    """What probation showed. Accuracies are fractions on this node's own test examples; None: no examples, or no model before."""

    accuracy: float | None = None
    previous_accuracy: float | None = None
    examples: int = 0
    requests: int = 0
    failed_requests: int = 0
    turned_away: int = 0  # requests that it refused and that the model before would have answered


@dataclass(frozen=True, slots=True)
class UpdateEvent:
    """`generation` names the update: an event of an update that another one replaced changes nothing."""

    generation: int


@dataclass(frozen=True, slots=True)
class Started(UpdateEvent):
    """The journal has the new update."""


@dataclass(frozen=True, slots=True)
class Reserved(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Fetched(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Verified(UpdateEvent): ...


@dataclass(frozen=True, slots=True)
class Loaded(UpdateEvent):
    """The model is loaded, and right on the probe."""


@dataclass(frozen=True, slots=True)
class Shadowed(UpdateEvent):
    """The candidate has run beside the served model for as long as the cloud asked."""


@dataclass(frozen=True, slots=True)
class Swapped(UpdateEvent):
    """The candidate answers requests."""


@dataclass(frozen=True, slots=True)
class ProbationPassed(UpdateEvent):
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class Committed(UpdateEvent):
    """The model answers requests from the agent's own process, and is the active one on the disk."""

    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class ProbationFailed(UpdateEvent):
    reason: str
    detail: str
    findings: Findings | None = None


@dataclass(frozen=True, slots=True)
class StepFailed(UpdateEvent):
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class GivenUp(UpdateEvent):
    """The model was the active one, and crashed the agent or hung too often since: the one before is active again."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ready(UpdateEvent):
    """The node has time for the update, or may not put it off any longer."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """Why the node puts an update off, and until when at the latest: seconds since 1970-01-01 UTC. `over`: it has gone on."""

    reason: str
    until: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class Deferred(UpdateEvent):
    """The node has no time for the update now."""

    deferral: Deferral


@dataclass(frozen=True, slots=True)
class OutOfReach(UpdateEvent):
    """The step cannot run now, perhaps later: the cloud cannot be reached."""

    detail: str


@dataclass(frozen=True, slots=True)
class TimedOut(UpdateEvent):
    """The state lasted longer than its limit, state.LIMIT_S."""


@dataclass(frozen=True, slots=True)
class Superseded(UpdateEvent):
    """The cloud wants another artifact of this model."""


@dataclass(frozen=True, slots=True)
class AgentCrashed(UpdateEvent):
    """The agent ended without a message, and runs again."""


@dataclass(frozen=True, slots=True)
class AgentDrained(UpdateEvent):
    """The agent ends in good order."""


@dataclass(frozen=True, slots=True)
class AgentResumed(UpdateEvent):
    """The agent runs again after it ended in good order."""


@dataclass(frozen=True, slots=True)
class UpdateEffect: ...


@dataclass(frozen=True, slots=True)
class RunStep(UpdateEffect):
    """Run this step next."""

    step: str


@dataclass(frozen=True, slots=True)
class RetryStep(UpdateEffect):
    """Run this step again, after a pause."""

    step: str


@dataclass(frozen=True, slots=True)
class RestorePrevious(UpdateEffect):
    """The model that stood by answers requests again, at once."""


@dataclass(frozen=True, slots=True)
class CloseCandidate(UpdateEffect):
    """Close what was loaded for this update and does not serve."""
