"""Folders of images, one folder a class.

Images of one size and one colour are taken as they are. Where they differ, nothing is guessed: `data.toml` in the folder says
which size and colour all get, and how; the rule travels in the manifest, and nodes apply it to what their clients send.

    resize = [28, 28]      # height and width
    channels = "grey"      # or "rgb"
    method = "area"        # or "bilinear"
    fit = "pad"            # proportions stay, black around; or "stretch"
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from littoral.errors import BadData, BadInput
from littoral.pixels import COLOUR_ALONE, GREY, is_grey, opened, size_of, upright
from littoral.preparation import Resize
from littoral.resize import FITS, METHODS, MOST, resized
from littoral_cloud.data.dataset import Dataset, Images, assemble, split_every
from littoral_cloud.data.image_files import holds_images, listed
from littoral_cloud.data.room import check_claim

RULE = "data.toml"
CHANNELS = {"grey": 1, "rgb": 3}
_EXAMPLE = 'resize = [28, 28] and channels = "grey"'
USUAL = Resize("area", "pad")
USUAL_SIDES = (16, 24, 28, 32, 48, 64, 96, 128, 160, 192, 224)


@dataclass(frozen=True, slots=True)
class Rule:
    """What every image of a folder becomes. None: all images have one size, or one colour, and keep it."""

    size: tuple[int, int] | None = None  # height, width; pixels
    channels: str | None = None  # of CHANNELS
    how: Resize = USUAL


def load_image_folder(folder: Path, *, rule: Rule | None = None, name: str | None = None) -> Dataset:
    """A data set from `folder/CLASS/*.png`, or from `folder/train/CLASS/...` and `folder/test/CLASS/...`; see image_files.

    Without a split of its own, of each class every fifth file by name becomes a test example. Grey images give one channel,
    colour ones three; transparency is dropped, an EXIF orientation is applied.

    Args:
        rule: None: as `folder/data.toml` says; without one, all images must be of one size, and all grey or all in colour.

    Raises:
        BadData: an image cannot be read, or is unlike the others without a rule for it (it is named), there is none, the rule is
            wrong, or see assemble.
    """
    called = name or folder.name
    rule = rule or read_rule(folder)
    found = listed(folder)
    train, test = (found.train, found.test) if found.test is not None else _split(found.train)
    names = tuple(sorted({label for _, label in (*train, *test)}))
    if not train or not test:
        raise BadData(
            f"{folder}: the {'test' if train else 'training'} split has no image", hint="at least two images a class are needed"
        )
    paths = [path for path, _ in (*train, *test)]
    looks = [_look(path) for path in paths]
    colours = {path: colour for path, (_, colour) in zip(paths, looks, strict=True) if colour}
    size = rule.size or looks[0][0]
    channels = rule.channels or next(iter(colours.values()), "grey")
    if rule.size is None:
        side = usual_side([size for size, _ in looks])
        what = f"resize = [{side}, {side}] (or --resize {side})"
        _alike(folder, {path: f"{high} high and {wide} wide" for path, ((high, wide), _) in zip(paths, looks, strict=True)}, what)
    if rule.channels is None:
        _alike(folder, colours, 'channels = "grey", or "rgb"')
    shape = (CHANNELS[channels], *size)
    check_claim(f"{folder}: {len(paths)} images", len(paths) * prod(shape), hint="resize them: --resize HEIGHTxWIDTH")
    index = {label: i for i, label in enumerate(names)}
    x_train, x_test = (_stack([path for path, _ in split], shape, rule.how) for split in (train, test))
    y_train, y_test = (np.array([index[label] for _, label in split], np.int64) for split in (train, test))
    made = assemble(called, x_train, y_train, x_test, y_test, labels=names)
    return replace(made, resize=rule.how if rule.size or rule.channels else None, reading=found.left_out)


def usual_side(sizes: Sequence[tuple[int, int]]) -> int:
    """A side in pixels that suits images of these (height, width): the largest of USUAL_SIDES that most of them have."""
    middle = sorted(min(size) for size in sizes)[len(sizes) // 2]
    return max((side for side in USUAL_SIDES if side <= middle), default=USUAL_SIDES[0])


def _split(every: Sequence[tuple[Path, str]]) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    taken = split_every(np.array([label for _, label in every], dtype=np.str_))
    train = [file for file, is_test in zip(every, taken, strict=True) if not is_test]
    return train, [file for file, is_test in zip(every, taken, strict=True) if is_test]


def read_rule(folder: Path) -> Rule:
    """What `folder/data.toml` says; the empty rule where there is none. Raises BadData, naming the key."""
    path = folder / RULE
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
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


def sized(folder: Path, text: str) -> Rule:
    """The folder's rule with the size that `--resize` names: HEIGHTxWIDTH, or one number for both.

    Raises BadInput where the text is no size, there are no images in the folder, or `data.toml` says another size.
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    high, wide = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= high <= MOST and 1 <= wide <= MOST):
        raise BadInput(f"--resize: {text!r} is no size", hint=f"pixels, 1 to {MOST}, like 64 or 48x64 (height, width)")
    if not folder.is_dir() or not holds_images(folder):
        raise BadInput(f"--resize: {folder} is no folder of images", hint="arrays are resized before they are saved")
    rule = read_rule(folder)
    if rule.size is not None and rule.size != (high, wide):
        raise BadInput(f"--resize: {text} is not what {folder / RULE} says: {list(rule.size)}", hint="change the one there")
    return replace(rule, size=(high, wide))


def keep_rule(folder: Path, rule: Rule) -> bool:
    """Writes the size of a rule to `folder/data.toml`, so that later readers read the folder alike. Returns whether it wrote.
    Raises BadInput where the file cannot be written."""
    path = folder / RULE
    if read_rule(folder).size == rule.size or rule.size is None:
        return False
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        made = path.with_suffix(".new")
        made.write_text(f"resize = [{rule.size[0]}, {rule.size[1]}]\n{before}", encoding="utf-8")
        made.replace(path)
    except OSError as error:
        raise BadInput(
            f"--resize: {path} cannot be written: {error.strerror}", hint="copy the folder to where it can be"
        ) from error
    return True


def _alike(folder: Path, seen: Mapping[Path, str], way_out: str) -> None:
    """Raises BadData, naming an image of the rarest kind, where not all were seen to be alike."""
    counts = Counter(seen.values())
    if len(counts) < 2:
        return
    usual, rare = counts.most_common()[0][0], counts.most_common()[-1][0]
    odd = next(path for path, kind in seen.items() if kind == rare).relative_to(folder)
    hint = f"say in {folder / RULE} what all become: {way_out}"
    if 2 * counts[usual] < len(seen):
        raise BadData(f"{folder}: {len(seen)} images have {len(counts)} sizes, {odd} is {rare}", hint=hint)
    raise BadData(
        f"{folder}: {odd} is {rare}, {counts[usual]} of {len(seen)} images are {usual}"
        + (f", and there are {len(counts) - 2} more sizes" if len(counts) > 2 else ""),
        hint=f"take it out, or {hint}",
    )


def _look(path: Path) -> tuple[tuple[int, int], str]:
    """(height, width), and "grey", "rgb" or "": a format that knows no grey holds grey pixels, so it may be either."""
    with opened(path) as image:
        size = size_of(image)
        if image.mode in GREY:
            return size, "grey"
        if image.format in COLOUR_ALONE and is_grey(image):
            return size, ""
        return size, "rgb"


def _stack(paths: Sequence[Path], shape: tuple[int, int, int], how: Resize) -> Images:
    stacked = np.zeros((len(paths), *shape), np.uint8)
    for row, path in zip(stacked, paths, strict=True):
        with opened(path) as image:
            pixels = upright(image)
        if max(pixels.shape) > MOST:
            raise BadData(f"{path}: is {pixels.shape[1]}x{pixels.shape[2]}, at most {MOST} a side are resized", hint="shrink it")
        row[:] = resized(pixels[None], shape, how.method, how.fit)[0]
    return stacked
