"""Documents with generations in memory: what a commit checks, and what it writes. Pure but for its own state; nothing waits.

Rules, in order:

1. A change is written whole, or, where one of its writes expects another generation than is there, not at all.
2. Each write of a document gives it the next generation. One that was deleted goes on from there when it is written again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from littoral.errors import Conflict
from littoral_cloud.fleet.ledger import Body, Doc, Take, Write


class MemoryDocuments:
    def __init__(self) -> None:
        self._docs: defaultdict[str, dict[str, Doc]] = defaultdict(dict)
        self._last: dict[tuple[str, str], int] = {}  # generation of documents that were deleted

    def get(self, kind: str, id: str) -> Doc | None:
        return self._docs[kind].get(id)

    def of(self, kind: str) -> Mapping[str, Doc]:
        """By id."""
        return self._docs[kind]

    def every(self) -> Iterator[Doc]:
        for docs in self._docs.values():
            yield from docs.values()

    @property
    def kinds(self) -> Sequence[str]:
        """Of which there are documents; sorted."""
        return sorted(kind for kind, docs in self._docs.items() if docs)

    def take_over(self, docs: Iterable[Doc]) -> None:
        """Documents as they stand elsewhere, with their generations."""
        for doc in docs:
            self._docs[doc.kind][doc.id] = doc

    def write(self, writes: Sequence[Write | Take]) -> dict[tuple[str, str], int]:
        """Gives the generation of each document; 0: it was deleted. Raises Conflict, and writes nothing."""
        for write in writes:
            self._check(write)
        return {(write.kind, write.id): self._written(write) for write in writes}

    def _check(self, write: Write | Take) -> None:
        doc = self._docs[write.kind].get(write.id)
        if isinstance(write, Take):
            left = doc.body.get(write.field) if doc else None
            if not isinstance(left, int) or left < 1:
                raise Conflict(f"{write.kind} {write.id}: nothing is left of {write.field}", hint="read it again")
            return
        found = doc.generation if doc else 0
        if write.expected is not None and write.expected != found:
            raise Conflict(f"{write.kind} {write.id}: expected generation {write.expected}, found {found}", hint="read it again")

    def _written(self, write: Write | Take) -> int:
        docs, key = self._docs[write.kind], (write.kind, write.id)
        before = docs.get(write.id)
        generation = before.generation if before else self._last.pop(key, 0)
        if isinstance(write, Take):
            assert before is not None
            body: Body | None = {**before.body, write.field: before.body[write.field] - 1}
        else:
            body = write.body
        if body is None:
            docs.pop(write.id, None)
            self._last[key] = generation + 1
            return 0
        docs[write.id] = Doc(write.kind, write.id, generation + 1, body)
        return generation + 1
