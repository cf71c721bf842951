"""What the view of a coordinator that serves follows: what rollouts decide from, and what operators look at."""

from __future__ import annotations

from collections.abc import Mapping

from littoral_cloud.federation.run import KIND as RUN
from littoral_cloud.federation.run import Run
from littoral_cloud.fleet.drift_seen import KIND as INPUTS
from littoral_cloud.fleet.drift_seen import DriftSeen
from littoral_cloud.rollouts.seen_fleet import RECORDS
from littoral_cloud.trust.operator_tokens import KIND as TOKEN
from littoral_cloud.trust.operator_tokens import OperatorToken

FOLLOWED: Mapping[str, type] = {**RECORDS, RUN: Run, INPUTS: DriftSeen, TOKEN: OperatorToken}
