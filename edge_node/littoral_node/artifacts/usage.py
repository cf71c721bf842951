"""What each model uses of this node's memory and disk, and whether one more may: refuses what is beyond the quotas.

Memory is what an artifact added to the process that tried it, at its peak; a file beside the model's journal has it, so
that a restart knows it. A model that serves is never taken out because another one comes: the newcomer is refused, with the
reason. For the time of a probation the model before stands by beside the new one: that is memory on top of what is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from littoral.budget import Budget
from littoral.errors import FleetError, Unavailable
from littoral.manifest import Manifest
from littoral.quota import ARTIFACTS, NodeLimits, Quota, quotas_of
from littoral_node.artifacts.repository import Artifacts
from littoral_node.identity.files import Damaged, ignore_damage, read_record, write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.serving.slots import Slots


class OverQuota(FleetError):
    """A model takes more of this node's memory or disk than its quota of it, or than is left."""

    code = "over-quota"


@dataclass(frozen=True, slots=True)
class MemoryTaken:
    """memory.json: bytes of memory by manifest digest, of one model's artifacts."""

    bytes: Mapping[str, int] = field(default_factory=dict)


class NodeUsage:
    """Args:
    budgets: by model name, as the settings say; "" for the models that are not named.
    """

    def __init__(
        self,
        folder: NodeFolder,
        limits: NodeLimits,
        budgets: Mapping[str, Budget],
        slots: Slots,
        artifacts: Artifacts,
        log: Callable[..., None],
        damaged: Damaged = ignore_damage,
    ) -> None:
        self._damaged = damaged
        self._folder = folder
        self._limits = limits
        self._budgets = budgets
        self._slots = slots
        self._artifacts = artifacts
        self._log = log
        self._taken: dict[str, dict[str, int]] = {}  # bytes of memory by manifest digest, by model
        self._here: Callable[[], Mapping[str, Collection[str]]] = dict

    def follow(self, here: Callable[[], Mapping[str, Collection[str]]]) -> None:
        """Args:
        here: gives the models that are on this node or coming to it, and the manifests that each needs on the disk.
        """
        self._here = here

    def quota(self, model: str) -> Quota:
        return quotas_of(self._limits, self._budgets, {*self._here(), model})[model]

    def requests(self, models: Collection[str]) -> Mapping[str, int]:
        """How many requests of each of these models may be waited for or answered at one time."""
        return {name: quota.requests for name, quota in quotas_of(self._limits, self._budgets, models).items() if name in models}

    # -- disk ------------------------------------------------------------------------------------------------------

    def disk_bytes(self, digests: Iterable[str]) -> int:
        """Of those of these artifacts that lie here."""
        return sum(map(self._artifacts.bytes_of, digests))

    def check_disk(self, model: str, digest: str, manifest: Manifest, *, benchmark: bool = False) -> None:
        """Raises OverQuota where an artifact is too large for the model's quota, or there is no room beside the others.

        Args:
            benchmark: the artifact is measured and deleted again. Raises Unavailable in place of the latter: there may be room
            later.
        """
        limit, quota, size = self._limits.disk_bytes, self.quota(model), manifest.artifact_bytes
        if limit is None or quota.disk_bytes is None or quota.artifact_bytes is None:
            return
        if size > quota.artifact_bytes:
            raise OverQuota(
                f"manifest.files: {size} bytes; {model} has {quota.disk_bytes} of {limit} bytes of disk "
                f"for {ARTIFACTS} artifacts: "
                f"the serving, the previous and the next one, {quota.artifact_bytes} each",
                hint="raise `disk`, or the model's quota in `budgets`",
            )
        if self._artifacts.held(digest) or (taken := self._artifacts.bytes_held()) + size <= limit:
            return
        words = f"disk: all artifacts take {taken} of {limit} bytes, {model} wants {size} more"
        if benchmark:
            raise Unavailable(words)
        raise OverQuota(words, hint="raise `disk`, or give the other models less in `budgets`")

    def spare(self, digest: str) -> None:
        """Where the disk is bounded, an artifact that was measured goes at once, unless a model needs it."""
        if self._limits.disk_bytes is not None and not any(digest in needed for needed in self._here().values()):
            self._artifacts.drop(digest)

    # -- memory ----------------------------------------------------------------------------------------------------

    def note_memory(self, model: str, digest: str, taken: int) -> None:
        """Keeps what an artifact took where it was rehearsed; bytes. What the model does not need any more is forgotten."""
        needed = {digest, *self._here().get(model, ())}
        known = {**self._known(model), digest: taken}
        self._taken[model] = {name: size for name, size in known.items() if name in needed}
        try:
            write_record(self._folder.memory(model), MemoryTaken(self._taken[model]))
        except OSError as error:  # a full disk: it is measured again with the next update
            self._log("memory-not-written", model=model, detail=str(error))

    def memory_bytes(self, model: str) -> int:
        """Of what serves; 0 where nothing does, or it was never measured."""
        served = self._slots.get(model)
        return self._known(model).get(served.manifest_digest, 0) if served is not None else 0

    def check_memory(self, model: str, digest: str) -> None:
        """Raises OverQuota where the artifact takes more than the model's quota, or than the others leave."""
        quota = self.quota(model).memory_bytes
        taken = self._known(model).get(digest, 0)
        if quota is not None and taken > quota:
            raise OverQuota(
                f"memory: {taken} bytes; the quota of {model} is {quota} of {self._limits.memory_bytes}",
                hint="raise `memory`, or the model's quota in `budgets`",
            )
        self._check_sum(model, taken)

    def check_committed(self, model: str, digest: str) -> None:
        """As check_memory, for what served before: a later model may have made an even quota smaller, which is no reason to
        refuse."""
        budget = self._budgets.get(model)
        if budget is not None and (budget.quota is not None or budget.peak_rss_bytes is not None):
            self.check_memory(model, digest)
        else:
            self._check_sum(model, self._known(model).get(digest, 0))

    def _check_sum(self, model: str, taken: int) -> None:
        limit = self._limits.memory_bytes
        others = {name: size for name in self._slots.names() if name != model and (size := self.memory_bytes(name))}
        if limit is None or taken + sum(others.values()) <= limit:
            return
        listed = ", ".join(f"{name} {size}" for name, size in sorted(others.items()))
        raise OverQuota(
            f"memory: {model} wants {taken} bytes, {limit} are for all models and taken are {sum(others.values())}: {listed}",
            hint="raise `memory`, or give the other models less in `budgets` and roll out a smaller student",
        )

    def _known(self, model: str) -> dict[str, int]:
        if model not in self._taken:
            try:
                self._taken[model] = dict((read_record(MemoryTaken, self._folder.memory(model)) or MemoryTaken()).bytes)
            except FleetError as error:
                self._damaged(self._folder.memory(model), error)
                self._taken[model] = {}
        return self._taken[model]
