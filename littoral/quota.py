"""The limits of one node, and each model's quota of them. Pure: node and cloud calculate the same.

1. A model's quota is a fraction of the limit, or a figure, as its budget says: `quota=50%`, `rss<=8MB`, `disk<=2MB`. With
   both, the lesser one counts.
2. The models without either share the rest evenly: those that the settings name, and those that are on the node.
3. So the quotas never add up to more than the limit.

    >>> limits = NodeLimits(memory_bytes=40_000_000)
    >>> found = quotas_of(limits, {"digits": Budget.parse("quota=50%")}, ["faces", "tones"])
    >>> found["digits"].memory_bytes, found["faces"].memory_bytes, found["tones"].memory_bytes
    (20000000, 10000000, 10000000)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from littoral.budget import Budget
from littoral.errors import BadInput

ARTIFACTS = 3
"""Artifacts that fit into a quota of the disk: the one that serves, the previous one for a rollback, and the next one."""
REQUESTS = 256
_WAY_OUT = "lower a quota in `budgets`, or raise the node's limit"


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """For all models of one node together. None: unbounded."""

    memory_bytes: int | None = None
    disk_bytes: int | None = None  # of all artifacts, retained ones included
    requests: int = REQUESTS  # that wait or are answered at one time


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one model. None: unbounded."""

    memory_bytes: int | None
    disk_bytes: int | None
    requests: int

    @property
    def artifact_bytes(self) -> int | None:
        """The largest artifact that fits into the quota of the disk."""
        return None if self.disk_bytes is None else self.disk_bytes // ARTIFACTS

    def within(self, budget: Budget) -> Budget:
        """The budget, bounded by this quota as well."""
        return replace(
            budget,
            peak_rss_bytes=_least(budget.peak_rss_bytes, self.memory_bytes),
            artifact_bytes=_least(budget.artifact_bytes, self.artifact_bytes),
        )


def check_quotas(limits: NodeLimits, budgets: Mapping[str, Budget]) -> None:
    """Raises BadInput where the quotas add up to more than the limits; it names the models, the value and the way out.

    Args:
        budgets: by model name; "" is for all other models.
    """
    if (every := budgets.get("")) is not None and (every.quota is not None or every.disk_bytes is not None):
        term = next(term for term in str(every).split(",") if term.startswith(("quota", "disk")))
        raise BadInput(f"budget: {term} would be the quota of every model", hint="give it to one: budgets = 'NAME: quota=50%'")
    named = {name: budget for name, budget in budgets.items() if name}
    fractions = {name: budget.quota for name, budget in named.items() if budget.quota is not None}
    _check_sum("quota", fractions, 1.0, lambda value: f"{value:.6%}".rstrip("0%").rstrip(".") + "%", set(named) - set(fractions))
    for field, limit in (("memory", limits.memory_bytes), ("disk", limits.disk_bytes)):
        if limit is not None:
            claims = _claims(field, limit, named)
            _check_sum(field, claims, limit, lambda value: f"{value:,.0f} bytes", set(named) - set(claims))
    if len(named) > limits.requests:
        raise BadInput(f"requests: {limits.requests} for {len(named)} models", hint="one for each at least")


def quotas_of(limits: NodeLimits, budgets: Mapping[str, Budget], models: Collection[str]) -> dict[str, Quota]:
    """The quota of every model that the budgets name or that is on the node, and, under "", of one more model.

    Args:
        budgets: by model name; "" is ignored.
        models: on the node, or to come to it.
    """
    named = {name: budget for name, budget in budgets.items() if name}
    known = {*named, *models} - {""}
    found = {name: _quota(name, limits, named, known) for name in known}
    return {**found, "": _quota("", limits, named, {*known, ""})}


def within_quotas(limits: NodeLimits, budgets: Mapping[str, Budget], models: Collection[str]) -> dict[str, Budget]:
    """The budgets, each bounded by the model's quota: of every model that is named or on the node, and "" for one more."""
    every = budgets.get("", Budget())
    return {name: quota.within(budgets.get(name, every)) for name, quota in quotas_of(limits, budgets, models).items()}


def _quota(name: str, limits: NodeLimits, named: Mapping[str, Budget], known: Collection[str]) -> Quota:
    requests = _one_quota("requests", name, limits.requests, named, known)
    return Quota(
        _one_quota("memory", name, limits.memory_bytes, named, known),
        _one_quota("disk", name, limits.disk_bytes, named, known),
        max(1, requests or 0),
    )


def _one_quota(field: str, name: str, limit: int | None, named: Mapping[str, Budget], known: Collection[str]) -> int | None:
    if limit is None:
        return None
    claims = _claims(field, limit, named)
    if (total := sum(claims.values())) > limit:  # a condition of the node gave every model another figure
        claims = {model: claim * limit // total for model, claim in claims.items()}
    if name in claims:
        return claims[name]
    return max(0, limit - sum(claims.values())) // max(1, len(set(known) - set(claims)))


def _claims(field: str, limit: int, named: Mapping[str, Budget]) -> dict[str, int]:
    """The models with a quota of their own: a figure, or a fraction of the limit."""
    claims = {}
    for name, budget in named.items():
        figure = {"memory": budget.peak_rss_bytes, "disk": budget.disk_bytes}.get(field)
        fraction = None if budget.quota is None else int(limit * budget.quota)
        if (claim := _least(figure, fraction)) is not None:
            claims[name] = claim
    return claims


def _check_sum(field: str, claims: Mapping[str, float], limit: float, shown: Callable[[float], str], others: set[str]) -> None:
    total = sum(claims.values())
    listed = ", ".join(f"{name} {shown(value)}" for name, value in sorted(claims.items()))
    if total > limit * (1 + 1e-9):
        raise BadInput(f"budgets: the quotas of {field} add up to {shown(total)} of {shown(limit)}: {listed}", hint=_WAY_OUT)
    if others and total >= limit:
        raise BadInput(f"budgets: {listed} take all of {field}, nothing is left for {', '.join(sorted(others))}", hint=_WAY_OUT)


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
