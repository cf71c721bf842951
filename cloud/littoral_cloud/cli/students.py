"""A table of students beside the baseline that they must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from littoral_cloud.terminal.output import Format, by_class, remarked

if TYPE_CHECKING:
    from littoral_cloud.factory.baseline import Baseline
    from littoral_cloud.packaging.package import Packaged


def students_of(
    packaged: Sequence[Packaged], base: Baseline, released: Sequence[Packaged], format: Format
) -> list[dict[str, Any]]:
    """A row for each student; in a table after the baseline's rows, for programs without them.

    Args:
        released: the students in the release.
    """
    names = {p.manifest.name for p in released}
    rows = [
        {
            "name": m.name,
            "accuracy": m.accuracy,
            **by_class(m.worst_class, m.accuracy_by_label, format),
            "bytes": m.artifact_bytes,
            "runtime": m.runtime,
            "released": m.name in names,
            **remarked(m.remarks, format),
        }
        for m in (p.manifest for p in packaged)
    ]
    return rows if format == Format.JSON else [*base.rows(), *rows]
