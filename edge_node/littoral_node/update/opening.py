"""Whether what the cloud desires is a new update, and with which event it starts. Pure; updater.py carries it out.

Rules, in order:

1. A desired artifact of a generation that is known starts nothing: its update is under way, or has ended.
2. Where that update succeeded and its artifact is not in service any more (a failed disk), it starts again.
3. An artifact that this node retains was proved here: it gets no new probation. What is in service already is committed at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from littoral_node.update.events import Committed, Started, UpdateEvent
from littoral_node.update.state import ProbationPolicy, S, Update


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on a node of one model: manifest digests; empty: none."""

    active: str  # on the disk
    before: str  # retained on the disk, to go back to
    answers: str  # requests, now
    given_up: bool = False  # the desired artifact crashed or hung too often here
    unloaded: bool = False  # an operator of the node took it out of memory


def is_known(now: Update | None, manifest_digest: str, generation: int, standing: Standing) -> bool:
    """Whether nothing starts: rules 1 and 2."""
    known = now is not None and (now.manifest_digest, now.generation) == (manifest_digest, generation)
    return known and (not _is_lost(now, manifest_digest, standing) or standing.unloaded)


def opened(
    now: Update | None, model: str, manifest_digest: str, generation: int, policy: ProbationPolicy, standing: Standing
) -> tuple[Update, UpdateEvent]:
    """The update to a desired artifact, and its first event.

    Args:
        now: the last update, which has ended.
    """
    retained = manifest_digest in (standing.active, standing.before) and not standing.given_up
    # The same digest is the same bytes: what was proved here is proved, also where it has to be fetched again.
    lost = _is_lost(now, manifest_digest, standing)
    again = lost and now is not None and now.manifest_digest == manifest_digest and not standing.given_up
    update = Update(model, manifest_digest, generation, policy, replaces=standing.active, proved=retained or again)
    serves = retained and manifest_digest == standing.active == standing.answers
    return update, Committed(generation) if serves else Started(generation)


def _is_lost(now: Update | None, manifest_digest: str, standing: Standing) -> bool:
    """The disk failed, or the model did not fit any more when the agent started."""
    return now is not None and now.state is S.SUCCEEDED and (manifest_digest != standing.active or not standing.answers)
