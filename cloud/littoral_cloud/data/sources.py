"""Decides by what a path is how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from littoral.errors import BadData, DigestMismatch, NotFound
from littoral_cloud.data.dataset import Dataset
from littoral_cloud.data.idx import is_idx_folder, load_idx
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


MNIST_DIGEST = "sha256:6de57c393938388b14c9b09cb2f0075f2759afe76d825a44e33c6df0122d1ca9"
"""Of the data set as load_idx reads it: it does not depend on how the files are compressed."""
MNIST_FILES = tuple(f"{split}-{what}-ubyte.gz" for split in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def load_mnist(folder: Path | None = None) -> Dataset:
    """MNIST from its four files, checked against MNIST_DIGEST.

    Args:
        folder: holds the files; None: data/mnist of the source tree, else of the working folder.

    Raises:
        NotFound: no such folder; the hint names the files and where to download them. DigestMismatch: it holds another data set,
            or a file differs from the folder's SHA256SUMS. BadData: see load_idx.
    """
    places = [folder] if folder else [Path(__file__).parents[3] / "data" / "mnist", Path("data/mnist")]
    for place in places:
        if place.is_dir() and is_idx_folder(place):
            data = load_idx(place, name="mnist")
            if data.digest != MNIST_DIGEST:
                raise DigestMismatch(f"{place}: holds {data.digest}, MNIST is {MNIST_DIGEST}", hint=_MNIST_HINT)
            return data
    raise NotFound(f"MNIST: its files are not in {places[-1].absolute()}", hint=_MNIST_HINT)


_MNIST_HINT = (
    f"download {', '.join(MNIST_FILES)} from {' or '.join(MNIST_MIRRORS)} into data/mnist, or use images of your own: --data DIR"
)
