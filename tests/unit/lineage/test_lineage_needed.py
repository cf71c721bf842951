"""Which artifacts are needed: those that are named or young, what those were made from, and nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from littoral.digest import digest_of
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.records import Artifact, dump
from littoral_cloud.lineage.garbage import CollectionView, decide

CUTOFF = 1000.0


def digest(kind: str, n: int) -> str:
    return digest_of(f"{kind} {n}".encode())


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Artifact], set[int]]:
    """Artifacts, each made from earlier ones or not, some of one network; and which of them something names."""
    count = draw(st.integers(0, 8))
    artifacts = []
    for n in range(count):
        parents = draw(st.lists(st.tuples(st.sampled_from(["weights", "manifest"]), st.integers(0, n))))
        weights = draw(st.sampled_from([n, max(n - 1, 0)]))
        artifacts.append(
            Artifact(
                manifest_digest=digest("manifest", n),
                model="m",
                name=f"a{n}",
                runtime="ncnn",
                accuracy=0.5,
                artifact_bytes=1,
                parameters=1,
                architecture={},
                parents=(digest("weights", weights), *(digest(kind, i) for kind, i in parents if (kind, i) != ("manifest", n))),
                created_at=draw(st.sampled_from([CUTOFF - 1, CUTOFF])),
                weights=digest("weights", weights),
            )
        )
    return artifacts, draw(st.sets(st.integers(0, max(count - 1, 0))))


@given(families())
@settings(deadline=None)
def test_what_is_kept_is_the_smallest_family_that_is_closed(family: tuple[list[Artifact], set[int]]) -> None:
    artifacts, named = family
    docs = tuple(Doc("artifact", a.manifest_digest, 1, dump(a)) for a in artifacts)
    kept, gone = decide(CollectionView(docs, (), {digest("manifest", n): f"release r-{n}" for n in named}, CUTOFF))
    assert sorted([*(k.artifact.name for k in kept), *(a.name for a in gone)]) == [a.name for a in artifacts]

    wanted = {a.name for n, a in enumerate(artifacts) if n in named or a.created_at >= CUTOFF}
    while True:
        children = [a for a in artifacts if a.name in wanted]
        parents = {p for child in children for p in child.parents if p != child.weights}
        more = {a.name for a in artifacts if a.manifest_digest in parents or a.weights in parents}
        if more <= wanted:
            break
        wanted |= more
    assert {k.artifact.name for k in kept} == wanted
    assert all(k.why for k in kept)
