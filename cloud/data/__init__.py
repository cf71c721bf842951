"""A user's labelled images, whatever they are stored as -> one Dataset."""

from cloud.data.dataset import Dataset, Examples, assemble
from cloud.data.sources import load_dataset, load_mnist

__all__ = ["Dataset", "Examples", "assemble", "load_dataset", "load_mnist"]
