"""Every action that a line of the audit trail may have, so that a pattern with a typing error is refused and not waited for.

tests/unit/fleet/test_actions.py compares this list with what the source writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from littoral.errors import BadInput
from littoral.type_words import nearest
from littoral_cloud.fleet.records import UpdateState

UPDATES = {state: f"update.{state.lower().replace('_', '-')}" for state in UpdateState if state is not UpdateState.UNSPECIFIED}
"""By the state that a node's update came to."""

_VERBS = {
    "access": "denied",
    "artifact": "deleted signed",
    "audit": "archived left-out tail-lost",
    "blobs": "collected",
    "budget": "changed",
    "choice": "changed unchanged",
    "cohort": "deleted saved",
    "drift": "detected ended",
    "fleet": "ca-in-force ca-introduced ca-retired identity-changed"
    " signing-key-in-force signing-key-introduced signing-key-retired",
    "loop": "release-failed run-refused settled",
    "model": "troubled",
    "node": "accepted certificate-issued certificate-renewed decommissioned enrolled expected quarantine-ended quarantined"
    " rejected replaced returned revoked round-failed sits-out twice waits",
    "operator-token": "created renewed revoked",
    "release": "created withdrawn",
    "rollout": "abort-asked approval-wanted approved archived failed paused promote-asked promoted resumed rolled-back started"
    " stopped waiting wave-started yielded",
    "round": "finished started",
    "run": "archived created failed started stopped succeeded worker-crashed",
    "schema": "migrated written",
    "session": "link-created signed-in",
    "token": "created revoked",
    "webhook": "deleted gave-up saved",
}

ACTIONS = frozenset({*(f"{noun}.{verb}" for noun, verbs in _VERBS.items() for verb in verbs.split()), *UPDATES.values()})


def no_such_action(pattern: str, of: frozenset[str] = ACTIONS) -> BadInput | None:
    """None where the pattern matches an action that can be written."""
    if any(fnmatchcase(action, pattern) for action in of):
        return None
    near = nearest(pattern, sorted({*of, *_groups(of)}))
    return BadInput(
        f"{pattern[:80]!r}: there is no such action", hint=f"{near}a pattern of actions is like rollout.* or node.enrolled"
    )


def warning_of(pattern: str) -> str:
    """Lines of other releases may have other actions, so that an unknown one is not refused."""
    unknown = no_such_action(pattern)
    return f"{unknown.message}; {unknown.hint}" if unknown is not None else ""


def _groups(actions: frozenset[str]) -> Iterator[str]:
    for action in actions:
        yield f"{action.partition('.')[0]}.*"
