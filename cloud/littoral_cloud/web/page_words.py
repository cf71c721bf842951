"""What the command line says, in the words of the page: without commands, with a field's label for an option. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from littoral.errors import FleetError

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_COMMAND = re.compile(r"[:,]?\s*\(?\blittoral-cloud [a-z][^;()]*\)?")
_ABOUT_AN_OPTION = re.compile(r"\s*\([^()]*--[a-z][^()]*\)")
_OPTION = re.compile(r"--([a-z][a-z-]*)")
_FIELD = re.compile(r"([a-z][a-z_-]*)(?=: )")
_STEERING = re.compile(r"(.*): littoral-cloud rollout ([a-z]+) \S+")
_BUTTONS = {"promote": "Next wave now"}

RULES = {
    "named": "not among the named nodes",
    "in-cohort": "do not match",
    "accepted": "not let in",
    "not-quarantined": "in quarantine",
    "window-is-known": "update window not understood",
    "has-runtime": "no fitting runtime",
    "can-take": "cannot run it",
    "keeps-interface": "other inputs or outputs",
    "reads-what-travels": "agent is too old",
    "fits-budget": "no student fits",
    "connected": "not there",
}
"""Why nodes are left out, by the rule that says no."""


def on_page(text: str, labels: Mapping[str, str] = _NO_LABELS) -> str:
    """A sentence or a hint; empty where it was a command alone.

    Args:
        labels: of the fields of the form that the text is about, by name.
    """

    def label(found: re.Match[str]) -> str:
        name = found[1]
        return labels.get(name.replace("-", "_"), "") or (name.replace("-", " ") if found[0].startswith("--") else found[0])

    text = _COMMAND.sub("", _ABOUT_AN_OPTION.sub("", text))
    return _FIELD.sub(label, _OPTION.sub(label, text), count=1) if labels else _OPTION.sub(label, text)


def rule_on_page(text: str) -> str:
    """Of "not-quarantined", "left out: not-quarantined" or "not-quarantined: is in quarantine by ana"."""
    before, left_out, rest = text.rpartition("left out: ") if text.startswith("left out: ") else ("", "", text)
    rule, colon, why = rest.partition(": ")
    return f"{before}{left_out}{RULES.get(rule, rule)}{colon}{on_page(why)}"


def mover_on_page(text: str) -> str:
    """Who can move a rollout, and by which button: "an operator: Abort"."""
    found = _STEERING.fullmatch(text)
    return f"{found[1]}: {_BUTTONS.get(found[2], found[2].capitalize())}" if found else on_page(text)


def problem_on_page(error: FleetError, labels: Mapping[str, str] = _NO_LABELS) -> str:
    """Its message, and what to do, in one line."""
    parts = (on_page(error.message, labels), on_page(error.hint or "", labels))
    return ". ".join(part for part in parts if part)
