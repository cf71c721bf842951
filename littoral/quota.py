"""What all models of one node may take together, and each one's share of it: pure, so that node and cloud say the same.

A model's share is a fraction of the whole, or a figure, as its budget says: `share=50%`, `rss<=8MB`, `disk<=2MB`; where it says
both, the lesser. What is left is split evenly between the models without either: those that the
settings name, and those that are on the node. So the shares never add up to more than the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from littoral.budget import Budget
from littoral.errors import BadInput

KEPT = 3
"""Artifacts that a share of the disk holds: the one that serves, the one that is kept to go back to, and one on its way."""
REQUESTS = 256
_WAY_OUT = "lower a share in `budgets`, or raise the whole"


@dataclass(frozen=True, slots=True)
class Whole:
    """What all models of one node may take together. None: unbounded."""

    memory_bytes: int | None = None
    disk_bytes: int | None = None  # of artifacts, kept ones included
    requests: int = REQUESTS  # that are waited for or answered at one time


@dataclass(frozen=True, slots=True)
class Share:
    """Of one model. None: unbounded."""

    memory_bytes: int | None
    disk_bytes: int | None
    requests: int

    @property
    def artifact_bytes(self) -> int | None:
        """The largest artifact that a share of the disk holds."""
        return None if self.disk_bytes is None else self.disk_bytes // KEPT

    def within(self, budget: Budget) -> Budget:
        """The budget, bounded by this share as well."""
        return replace(
            budget,
            peak_rss_bytes=_least(budget.peak_rss_bytes, self.memory_bytes),
            artifact_bytes=_least(budget.artifact_bytes, self.artifact_bytes),
        )


def check_shares(whole: Whole, budgets: Mapping[str, Budget]) -> None:
    """Raises BadInput, naming the models, the value and the way out, where the shares are more than the whole.

    Args:
        budgets: by model name; "" stands for the models that are not named.
    """
    if (every := budgets.get("")) is not None and (every.share is not None or every.disk_bytes is not None):
        term = next(term for term in str(every).split(",") if term.startswith(("share", "disk")))
        raise BadInput(f"budget: {term} would be the share of every model", hint="give it to one: budgets = 'NAME: share=50%'")
    named = {name: budget for name, budget in budgets.items() if name}
    fractions = {name: budget.share for name, budget in named.items() if budget.share is not None}
    _check_sum("share", fractions, 1.0, lambda value: f"{value:.6%}".rstrip("0%").rstrip(".") + "%", set(named) - set(fractions))
    for field, all_of_it in (("memory", whole.memory_bytes), ("disk", whole.disk_bytes)):
        if all_of_it is not None:
            claims = _claims(field, all_of_it, named)
            _check_sum(field, claims, all_of_it, lambda value: f"{value:,.0f} bytes", set(named) - set(claims))
    if len(named) > whole.requests:
        raise BadInput(f"requests: {whole.requests} for {len(named)} models", hint="one for each at least")


def shares_of(whole: Whole, budgets: Mapping[str, Budget], models: Collection[str]) -> dict[str, Share]:
    """Of every model that is named in the budgets or is on the node, and, under "", of one more that would come.

    Args:
        budgets: by model name; "" is passed over.
        models: that are on the node, or are to come to it.
    """
    named = {name: budget for name, budget in budgets.items() if name}
    known = {*named, *models} - {""}
    found = {name: _share(name, whole, named, known) for name in known}
    return {**found, "": _share("", whole, named, {*known, ""})}


def held(whole: Whole, budgets: Mapping[str, Budget], models: Collection[str]) -> dict[str, Budget]:
    """The budgets, each bounded by the model's share: of every model that is named or on the node, and "" for one more."""
    every = budgets.get("", Budget())
    return {name: share.within(budgets.get(name, every)) for name, share in shares_of(whole, budgets, models).items()}


def _share(name: str, whole: Whole, named: Mapping[str, Budget], known: Collection[str]) -> Share:
    requests = _one_share("requests", name, whole.requests, named, known)
    return Share(
        _one_share("memory", name, whole.memory_bytes, named, known),
        _one_share("disk", name, whole.disk_bytes, named, known),
        max(1, requests or 0),
    )


def _one_share(field: str, name: str, whole: int | None, named: Mapping[str, Budget], known: Collection[str]) -> int | None:
    if whole is None:
        return None
    claims = _claims(field, whole, named)
    if (total := sum(claims.values())) > whole:  # a condition of the node gave every model another figure
        claims = {model: claim * whole // total for model, claim in claims.items()}
    if name in claims:
        return claims[name]
    return max(0, whole - sum(claims.values())) // max(1, len(set(known) - set(claims)))


def _claims(field: str, whole: int, named: Mapping[str, Budget]) -> dict[str, int]:
    """What models have of their own: a figure, or a fraction of the whole."""
    claims = {}
    for name, budget in named.items():
        figure = {"memory": budget.peak_rss_bytes, "disk": budget.disk_bytes}.get(field)
        fraction = None if budget.share is None else int(whole * budget.share)
        if (claim := _least(figure, fraction)) is not None:
            claims[name] = claim
    return claims


def _check_sum(field: str, claims: Mapping[str, float], whole: float, shown: Callable[[float], str], others: set[str]) -> None:
    total = sum(claims.values())
    listed = ", ".join(f"{name} {shown(value)}" for name, value in sorted(claims.items()))
    if total > whole * (1 + 1e-9):
        raise BadInput(f"budgets: the shares of {field} add up to {shown(total)} of {shown(whole)}: {listed}", hint=_WAY_OUT)
    if others and total >= whole:
        raise BadInput(f"budgets: {listed} take all of {field}, nothing is left for {', '.join(sorted(others))}", hint=_WAY_OUT)


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
