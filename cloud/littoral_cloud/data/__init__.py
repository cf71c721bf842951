"""Reads a user's labelled data, in any of the supported layouts, into one Dataset."""

from littoral_cloud.data.dataset import Dataset, Examples, assemble
from littoral_cloud.data.sources import load_dataset, load_mnist

__all__ = ["Dataset", "Examples", "assemble", "load_dataset", "load_mnist"]
