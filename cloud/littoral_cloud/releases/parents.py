"""What each parent of an artifact was, also where its manifest is older than the field that says so."""

from __future__ import annotations

from littoral.lineage import BASE, DATA, OTHER, TEACHER, WEIGHTS
from littoral.manifest import Manifest


def roles_of(manifest: Manifest) -> tuple[str, ...]:
    """A role for each of the manifest's parents, in their order."""
    if manifest.lineage is not None:
        return manifest.lineage.roles
    # 0.1.0 wrote them in this order, and nothing but these.
    last = TEACHER if manifest.recipe.get("teacher") else BASE if "run" in manifest.recipe else OTHER
    return (DATA, WEIGHTS, last, *(OTHER for _ in manifest.parents))[: len(manifest.parents)]


def parents_by_role(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Digests, in their order, under each role that there is."""
    found: dict[str, tuple[str, ...]] = {}
    for role, digest in zip(roles_of(manifest), manifest.parents, strict=True):
        found[role] = (*found.get(role, ()), digest)
    return found
