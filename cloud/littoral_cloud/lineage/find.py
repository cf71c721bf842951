"""Which artifact an operator means: a name, a digest, or the beginning of a digest."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import takewhile

from littoral.digest import PREFIX
from littoral.errors import NotFound
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Artifact, load

SHOWN = 12
"""Digits of a digest that people are shown."""
_LISTED = 8


def short(digest: str) -> str:
    return digest.removeprefix(PREFIX)[:SHOWN]


async def all_artifacts(ledger: Ledger) -> list[Artifact]:
    """Oldest first."""
    found = [load(Artifact, doc) for doc in await ledger.all("artifact")]
    return sorted(found, key=lambda a: (a.created_at, a.name, a.manifest_digest))


def find(artifacts: Sequence[Artifact], wanted: str) -> Artifact:
    """The only artifact of that name, or whose digest begins so, with or without "sha256:".

    Raises NotFound: none is meant, and what is nearest; or several are, and which.
    """
    begins = wanted.removeprefix(PREFIX).lower()
    named = [a for a in artifacts if a.name == wanted]
    meant = named or [a for a in artifacts if begins and a.manifest_digest.removeprefix(PREFIX).startswith(begins)]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise NotFound(f"artifact: {wanted!r} is no artifact", hint=_nearest(artifacts, wanted, begins))
    what = f"is the name of {len(meant)} artifacts" if named else f"begins {len(meant)} digests"
    listed = ", ".join(f"{short(a.manifest_digest)} ({a.name})" for a in reversed(meant[-_LISTED:]))
    more = f" and {len(meant) - _LISTED} older ones" if len(meant) > _LISTED else ""
    raise NotFound(f"artifact: {wanted!r} {what}", hint=f"the newest first: {listed}{more}; give more of the digest")


def _nearest(artifacts: Sequence[Artifact], wanted: str, begins: str) -> str:
    def shared(artifact: Artifact) -> int:
        pairs = zip(artifact.manifest_digest.removeprefix(PREFIX), begins, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    if names := get_close_matches(wanted, {a.name for a in artifacts}, n=1, cutoff=0.5):
        return f"the nearest name is {names[0]!r}; littoral-cloud artifact list"
    if artifacts and shared(nearest := max(artifacts, key=shared)) >= 2:
        return f"the nearest digest begins {short(nearest.manifest_digest)} ({nearest.name}); littoral-cloud artifact list"
    return "littoral-cloud artifact list"
