"""Folders of PNG and JPEG images, one folder a class.

Images of one size and one colour are taken as they are. Where they differ, nothing is guessed: `data.toml` in the folder says
which size and colour all get, and how; the rule travels in the manifest, and nodes apply it to what their clients send.

    resize = [28, 28]      # height and width
    channels = "grey"      # or "rgb"
    method = "area"        # or "bilinear"
    fit = "pad"            # proportions stay, black around; or "stretch"
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cloud.data.dataset import Dataset, Images, assemble, split_every
from littoral.errors import BadData
from littoral.manifest import Resize
from littoral.pixels import GREY, opened, upright
from littoral.resize import FITS, METHODS, MOST, resized

SUFFIXES = (".png", ".jpg", ".jpeg")
RULE = "data.toml"
CHANNELS = {"grey": 1, "rgb": 3}
_ORIENTATION = 0x0112  # EXIF; from 5 on the image lies on its side
_EXAMPLE = 'resize = [28, 28] and channels = "grey"'
USUAL = Resize("area", "pad")


@dataclass(frozen=True, slots=True)
class Rule:
    """What every image of a folder becomes. None: all images have one size, or one colour, and keep it."""

    size: tuple[int, int] | None = None  # height, width; pixels
    channels: str | None = None  # of CHANNELS
    how: Resize = USUAL


def load_image_folder(folder: Path, *, rule: Rule | None = None, name: str | None = None) -> Dataset:
    """A data set from `folder/CLASS/*.png|jpg`, or from `folder/train/CLASS/...` and `folder/test/CLASS/...`.

    Without train and test folders, of each class every fifth file by name becomes a test example. Grey images give one channel,
    colour ones three; transparency is dropped, an EXIF orientation is applied.

    Args:
        rule: None: as `folder/data.toml` says; without one, all images must be of one size, and all grey or all in colour.

    Raises:
        BadData: an image cannot be read, or is unlike the others without a rule for it (it is named), there is none, the rule is
            wrong, or see assemble.
    """
    called = name or folder.name
    rule = rule or read_rule(folder)
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train, test = _files(folder / "train"), _files(folder / "test")
        names = tuple(sorted({label for _, label in (*train, *test)}))
    else:
        every = _files(folder)
        names = tuple(sorted({label for _, label in every}))
        taken = split_every(np.array([label for _, label in every], dtype=np.str_))
        train = [file for file, is_test in zip(every, taken, strict=True) if not is_test]
        test = [file for file, is_test in zip(every, taken, strict=True) if is_test]
    if not train or not test:
        raise BadData(
            f"{folder}: the {'test' if train else 'training'} split has no image", hint="at least two images a class are needed"
        )
    paths = [path for path, _ in (*train, *test)]
    looks = [_look(path) for path in paths]
    size, channels = rule.size or looks[0][0], rule.channels or _colour(looks[0][1])
    if rule.size is None:
        _alike(folder, paths, [f"{high} high and {wide} wide" for (high, wide), _ in looks], "resize = [28, 28]")
    if rule.channels is None:
        _alike(folder, paths, [_colour(grey) for _, grey in looks], 'channels = "grey", or "rgb"')
    shape = (CHANNELS[channels], *size)
    index = {label: i for i, label in enumerate(names)}
    x_train, x_test = (_stack([path for path, _ in split], shape, rule.how) for split in (train, test))
    y_train, y_test = (np.array([index[label] for _, label in split], np.int64) for split in (train, test))
    made = assemble(called, x_train, y_train, x_test, y_test, labels=names)
    return replace(made, resize=rule.how if rule.size or rule.channels else None)


def is_image_folder(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.glob("*/*")) or any(
        path.suffix.lower() in SUFFIXES for path in folder.glob("train/*/*")
    )


def read_rule(folder: Path) -> Rule:
    """What `folder/data.toml` says; the empty rule where there is none. Raises BadData, naming the key."""
    path = folder / RULE
    try:
        body = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Rule()
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read: {error}", hint=f"it is TOML, like {_EXAMPLE}") from error
    if unknown := sorted(set(body) - {"resize", "channels", "method", "fit"}):
        raise BadData(f"{path}: {unknown[0]!r} is not known", hint="it has resize, channels, method and fit")
    size = body.get("resize")
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and 1 <= side <= MOST for side in size)
    ):
        raise BadData(f"{path}: resize is {size!r}", hint=f"height and width in pixels, 1 to {MOST}, like resize = [28, 28]")
    choices: dict[str, tuple[Any, tuple[str, ...]]] = {
        "channels": (body.get("channels"), tuple(CHANNELS)),
        "method": (body.get("method", "area"), METHODS),
        "fit": (body.get("fit", "pad"), FITS),
    }
    for key, (value, known) in choices.items():
        if value is not None and value not in known:
            raise BadData(f"{path}: {key} is {value!r}", hint=f"one of {', '.join(known)}")
    how = Resize(choices["method"][0], choices["fit"][0])
    return Rule((size[0], size[1]) if size else None, choices["channels"][0], how)


def _alike(folder: Path, paths: Sequence[Path], seen: Sequence[str], way_out: str) -> None:
    """Raises BadData, naming an image of the rarest kind, where not all were seen to be alike."""
    counts = Counter(seen)
    if len(counts) == 1:
        return
    usual, rare = counts.most_common()[0][0], counts.most_common()[-1][0]
    odd = paths[seen.index(rare)]
    raise BadData(
        f"{folder}: {odd.relative_to(folder)} is {rare}, {counts[usual]} of {len(seen)} images are {usual}"
        + (f", and there are {len(counts) - 2} more sizes" if len(counts) > 2 else ""),
        hint=f"take it out, or say in {folder / RULE} what all become: {way_out}",
    )


def _colour(grey: bool) -> str:
    return "grey" if grey else "rgb"


def _files(folder: Path) -> list[tuple[Path, str]]:
    """Images by class, then by name: the same order on every file system. Raises BadData for a class without an image."""
    found: list[tuple[Path, str]] = []
    for kind in sorted(folder.iterdir()):
        if not kind.is_dir() or kind.name.startswith("."):
            continue
        images = [path for path in sorted(kind.iterdir()) if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
        if not images:
            raise BadData(f"{kind}: has no image, and would be a class", hint="add PNG or JPEG images, or remove the folder")
        found += [(path, kind.name) for path in images]
    return found


def _look(path: Path) -> tuple[tuple[int, int], bool]:
    """((height, width), whether it is grey) without decoding the pixels."""
    with opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return ((width, height) if turned else (height, width)), image.mode in GREY


def _stack(paths: Sequence[Path], shape: tuple[int, int, int], how: Resize) -> Images:
    stacked = np.zeros((len(paths), *shape), np.uint8)
    for row, path in zip(stacked, paths, strict=True):
        with opened(path) as image:
            pixels = upright(image)
        if max(pixels.shape) > MOST:
            raise BadData(f"{path}: is {pixels.shape[1]}x{pixels.shape[2]}, at most {MOST} a side are resized", hint="shrink it")
        row[:] = resized(pixels[None], shape, how.method, how.fit)[0]
    return stacked
