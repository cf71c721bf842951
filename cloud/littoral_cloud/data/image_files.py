"""Which files of a folder are images of which class and split, and what of it is left out.

Nothing is passed over in silence: `Listing.left_out` counts it, with the first file's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from littoral.errors import BadData
from littoral.pixels import SUFFIXES

TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
_SYSTEM = ("__MACOSX",)  # what archives leave behind


@dataclass(frozen=True, slots=True)
class Listing:
    """`train`, `test`: images and their classes, by class, then by name: the same order on every file system. `test` None: the
    folder has no split. `left_out`: a sentence each."""

    train: Sequence[tuple[Path, str]]
    test: Sequence[tuple[Path, str]] | None
    left_out: tuple[str, ...]


def listed(folder: Path) -> Listing:
    """Raises BadData for a class without an image, and where there is none at all."""
    remarks: list[str] = []
    splits = {child.name.lower(): child for child in sorted(folder.iterdir()) if _is_split(child)}
    train, test, validation = (_first(splits, names) for names in (TRAIN, TEST, VALIDATION))
    if train is None:
        found = _classes(folder, folder, remarks)
        return Listing(found, None, tuple(remarks))
    if test is None and validation is not None:
        remarks.append(f"{validation.name}/ is the test split: there is no test/")
        test, validation = validation, None
    extra = [child for child in sorted(folder.iterdir()) if child.is_dir() and child not in (train, test)]
    counts = {child.name: sum(map(_is_image, child.rglob("*"))) for child in extra}
    remarks += [f"{name}/ beside {train.name}/ is left out, with {count} images" for name, count in counts.items() if count]
    if test is None:
        remarks.append(f"there is no test/ beside {train.name}/: every fifth image of a class is a test image")
    return Listing(_classes(train, folder, remarks), None if test is None else _classes(test, folder, remarks), tuple(remarks))


def holds_images(folder: Path) -> bool:
    return any(map(_is_image, folder.glob("*/*"))) or any(map(_is_image, folder.glob("*/*/*")))


def _is_split(child: Path) -> bool:
    """Not a class that happens to be called so: it holds folders with images, and no image."""
    if not child.is_dir() or child.name.lower() not in (*TRAIN, *TEST, *VALIDATION):
        return False
    return any(map(_is_image, child.glob("*/*"))) and not any(map(_is_image, child.iterdir()))


def _first(splits: dict[str, Path], names: Sequence[str]) -> Path | None:
    return next((splits[name] for name in names if name in splits), None)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _classes(split: Path, folder: Path, remarks: list[str]) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    loose, deeper, odd, others, linked = [], [], [], [], []
    for kind in sorted(split.iterdir()):
        if kind.name.startswith(".") or kind.name in _SYSTEM:
            continue
        if not kind.is_dir():
            loose += [kind] if kind.suffix.lower() in SUFFIXES else []
            continue
        images = []
        for path in sorted(kind.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                deeper += sorted(filter(_is_image, path.rglob("*")))
            elif path.suffix.lower() not in SUFFIXES:
                others.append(path)
            elif not path.is_file():
                odd.append(path)
            else:
                images.append(path)
        if not images:
            below = sum(map(_is_image, kind.rglob("*")))
            why = f"; {below} images lie deeper, and are not read" if below else ""
            raise BadData(
                f"{kind}: has no image, and would be a class{why}", hint=f"add images ({_known()}), or remove the folder"
            )
        linked += [path for path in images if _leads_out(path, folder)]
        found += [(path, kind.name) for path in images]
    endings = Counter(path.suffix.lower() or "without an ending" for path in others)
    kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
    for what, paths in (
        ("images in no class's folder are left out", loose),
        ("images in deeper folders are left out", deeper),
        ("are no regular files (pipes, sockets, broken links), and are left out", odd),
        (f"files are left out: {kinds}; read are {_known()}", others),
        ("images are links out of the folder, and are read from there", linked),
    ):
        if paths:
            remarks.append(f"{len(paths)} {what} (first: {paths[0].relative_to(folder)})")
    return found


def _leads_out(path: Path, folder: Path) -> bool:
    """Links alone are followed: looking is expensive on many files."""
    if not path.is_symlink() and not path.parent.is_symlink():
        return False
    return not path.resolve().is_relative_to(folder.resolve())


def _known() -> str:
    return ", ".join(SUFFIXES)
