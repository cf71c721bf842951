"""The process in which the coordinator imports a model from elsewhere: the child of littoral_cloud/commands/importing.py.

It opens the file in a child of its own, as `import_model` does everywhere; what it makes lies in a folder, by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littoral.errors import FleetError
from littoral.process.child import Answer, serve

if TYPE_CHECKING:
    from littoral_cloud.packaging.package import Packaged


def prepare(settings: dict[str, Any]) -> tuple[Answer, dict[str, Any]]:
    """Settings: `folder` of the files, as they were called; `to`: the folder of what is made."""
    folder, to = Path(settings["folder"]), Path(settings["to"])

    def answer(head: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        notes: list[str] = []

        def tell(words: str) -> None:
            notes.append(words.replace(f"{folder}/", ""))

        try:
            made = _imported(folder, head, tell)
        except FleetError as error:
            error.message = error.message.replace(f"{folder}/", "")
            raise
        return {"notes": notes, "made": [_written(packaged, to) for packaged in made]}, {}

    return answer, {}


def _imported(folder: Path, head: Mapping[str, Any], tell: Callable[[str], None]) -> Sequence[Packaged]:
    from littoral_cloud.foreign.importing import import_model
    from littoral_cloud.foreign.opened import ForeignLimits
    from littoral_cloud.foreign.plan import ImportPlan
    from littoral_cloud.foreign.samples import ByteScaling

    plan = ImportPlan(
        model=head["model"],
        name=head["name"],
        task=head["task"],
        metric=head["metric"],
        labels=tuple(head["labels"]),
        output=head["output"],
        preparation=ByteScaling(head["prepare"], tuple(head["mean"]), tuple(head["std"])),
        sizes={name: tuple(size) for name, size in head["sizes"].items()},
        limits=ForeignLimits(head["memory_bytes"], head["seconds"]),
        int8_loss=head["int8_loss"],
        anyway=head["anyway"],
    )
    data = folder / head["data_name"] if head["data_name"] else None
    return import_model(folder / head["file_name"], plan, data=data, tell=tell)


def _written(packaged: Packaged, to: Path) -> str:
    """The name of the file with the manifest; beside it every file that it names, by digest."""
    manifest = packaged.manifest
    for file in manifest.files:
        (to / file.digest).write_bytes(packaged.files[file.path])
        if file.transfer is not None:
            (to / file.transfer.digest).write_bytes(packaged.coded[file.path])
    name = f"{manifest.name}.json"
    (to / name).write_bytes(manifest.encode())
    return name


if __name__ == "__main__":
    serve(prepare)
