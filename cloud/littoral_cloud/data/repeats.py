"""Examples that lie in a data set more than once: in both splits they make an accuracy say too much."""

from __future__ import annotations

from littoral_cloud.data.dataset import Dataset, Inputs


def repeated(dataset: Dataset) -> list[str]:
    """What repeats, a sentence each with its count; empty: nothing does. Equal is equal in every value of the input."""
    train, test = _digests(dataset.train_x), _digests(dataset.test_x)
    remarks = []
    if both := sum(digest in known for known in [frozenset(train)] for digest in test):
        remarks.append(f"{both} of {len(test)} test examples are among the training examples too: the accuracy says too much")
    if again := len(train) - len(set(train)):
        remarks.append(f"{again} of {len(train)} training examples repeat another one")
    labels: dict[int, set[int]] = {}
    for digest, label in zip((*train, *test), (*dataset.train_y.tolist(), *dataset.test_y.tolist()), strict=True):
        labels.setdefault(digest, set()).add(label)
    if torn := sum(len(held) > 1 for held in labels.values()):
        remarks.append(f"{torn} examples lie there under more than one label")
    return remarks


def _digests(x: Inputs) -> list[int]:
    return [hash(row.tobytes()) for row in x]
