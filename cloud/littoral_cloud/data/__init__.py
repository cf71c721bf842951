"""A user's labelled images, whatever they are stored as -> one Dataset."""

from littoral_cloud.data.dataset import Dataset, Examples, assemble
from littoral_cloud.data.sources import load_dataset, load_mnist

__all__ = ["Dataset", "Examples", "assemble", "load_dataset", "load_mnist"]
