"""Decides by what a path is how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from littoral.errors import BadData, NotFound
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.idx import SUMS, is_idx_folder, load_idx
from littoral_cloud.data.npz import load_npz

if TYPE_CHECKING:
    from littoral_cloud.data.image_folder import Rule

_KNOWN = (
    "a folder with MNIST's four IDX files, an .npz file of images, a table or series, or a folder with one folder of images a "
    "class: docs/data.md"
)


def load_dataset(path: Path | str, *, rule: Rule | None = None) -> Dataset:
    """The data set at a path: IDX folder, .npz file or image folder.

    Args:
        rule: of an image folder, in place of what its data.toml says.

    Raises:
        NotFound: nothing is there. BadData: it is none of these, or damaged; the message names the file.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"data: {path} does not exist", hint=f"give {_KNOWN}")
    if not path.is_dir() and not path.is_file():
        raise BadData(f"data: {path} is no regular file", hint=f"give {_KNOWN}")
    if path.is_file():
        if path.suffix == ".npz":
            return load_npz(path)
        raise BadData(f"data: {path} is a {path.suffix or 'nameless'} file", hint=f"give {_KNOWN}")
    if is_idx_folder(path):
        return load_idx(path)
    # pillow is only needed, and so only imported, for images
    from littoral_cloud.data.image_files import holds_images
    from littoral_cloud.data.image_folder import load_image_folder

    if holds_images(path):
        return load_image_folder(path, rule=rule)
    raise BadData(f"data: {path} holds nothing that can be read", hint=f"give {_KNOWN}")


def load_mnist(folder: Path | None = None) -> Dataset:
    """MNIST as it lies in the repository, data/mnist, each file checked against SHA256SUMS.

    Args:
        folder: where it lies instead; None: data/mnist of the source tree, else of the working folder.

    Raises:
        NotFound: it is not there. DigestMismatch: a file was changed. BadData: see load_idx.
    """
    places = [folder] if folder else [Path(__file__).parents[3] / "data" / "mnist", Path("data/mnist")]
    for place in places:
        if (place / SUMS).is_file():
            return load_idx(place, name="mnist")
    raise NotFound(
        f"MNIST: no {SUMS} in {' or '.join(map(str, places))}",
        hint="run from the source tree, or give the folder that holds MNIST's files",
    )
