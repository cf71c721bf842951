"""Whether a node is part of the fleet."""

from __future__ import annotations

from enum import StrEnum


class Enrolment(StrEnum):
    PENDING = "pending"  # an operator has to accept it
    ACCEPTED = "accepted"
    REJECTED = "rejected"  # it was never let in
    REVOKED = "revoked"  # out until an operator accepts it again: its documents stay
    DECOMMISSIONED = "decommissioned"  # out for ever


OUT_FOR_EVER = frozenset({Enrolment.REJECTED, Enrolment.DECOMMISSIONED})
"""Their names are free, and a token does not bring them back."""
