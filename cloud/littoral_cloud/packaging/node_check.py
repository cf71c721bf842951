"""Tests an artifact as a node will, before it is signed and released.

Each artifact is written as it travels and decoded. Then a node's own process (littoral/measuring.py) reads its manifest, loads
it, compares its answers with its probe and measures it. Every node would refuse what does not pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from littoral.errors import RuntimeFailure
from littoral.measuring import ABSENT, Measurer
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.packaging.trial import tried
from littoral_cloud.training.resume import Tell
from littoral_cloud.training.schedule import ignore


async def taken_by_a_node(made: Sequence[Packaged], tell: Tell = ignore) -> tuple[Packaged, ...]:
    """The artifacts that a node accepts, in their order.

    Args:
        tell: called with a message about each that is left out, and each that was not tested because its runtime is not here.

    Raises RuntimeFailure where none is left.
    """
    taken: list[Packaged] = []
    refused: list[str] = []
    measurer = Measurer(1, None)
    try:
        for packaged in made:
            manifest = packaged.manifest
            result = await tried(manifest, packaged.files, packaged.coded, measurer)
            if result.failure in ("", ABSENT):
                taken.append(packaged)
            if result.failure == ABSENT:
                tell(f"{manifest.name}: not tried as a node would, {manifest.runtime} is not here")
            elif result.failure:
                refused.append(f"{manifest.name}: {result.failure}: {result.detail}")
    finally:
        measurer.end()
    if not taken:
        raise RuntimeFailure(f"a node refuses {'; '.join(refused)}", hint="nothing was released")
    for reason in refused:
        tell(f"a node refuses {reason}; it is not released")
    return tuple(taken)
