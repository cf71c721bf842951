"""Swaps, leases, and when a model is closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from littoral.errors import NotFound, RuntimeFailure
from littoral_node.runtimes import Model
from littoral_node.serving.slots import Slots
from tests.kit.models import images
from tests.kit.serving import MODEL, served


def closed(model: Model) -> bool:
    try:
        model.infer(images(1).astype(np.float32))
    except RuntimeFailure:
        return True
    return False


def test_a_request_finishes_on_the_model_it_began_on(tmp_path: Path) -> None:
    slots = Slots()
    old, new = served(tmp_path / "a", seed=0), served(tmp_path / "b", seed=1)
    slots.swap(MODEL, old)
    with slots.lease(MODEL) as first, slots.lease(MODEL) as second:
        assert slots.swap(MODEL, new) is old
        assert slots.get(MODEL) is new
        assert first is second is old
        with slots.lease(MODEL) as third:
            assert third is new
        assert not closed(old.model)
    assert closed(old.model)
    assert not closed(new.model)
    slots.close()
    assert closed(new.model)


def test_the_old_one_is_closed_with_its_last_request_even_when_that_fails(tmp_path: Path) -> None:
    slots = Slots()
    old, new = served(tmp_path / "a", seed=0), served(tmp_path / "b", seed=1)
    slots.swap(MODEL, old)

    def request() -> None:
        with slots.lease(MODEL) as leased:
            slots.swap(MODEL, new)
            leased.model.infer(np.zeros(3, np.float32))

    with pytest.raises(RuntimeFailure):
        request()
    assert closed(old.model)
    slots.close()


def test_one_that_nobody_uses_is_closed_at_once(tmp_path: Path) -> None:
    slots = Slots()
    old, new = served(tmp_path / "a", seed=0), served(tmp_path / "b", seed=1)
    assert slots.swap(MODEL, old) is None
    slots.swap(MODEL, new)
    assert closed(old.model)
    assert slots.remove(MODEL) is new
    assert closed(new.model)
    assert slots.remove(MODEL) is None


def test_what_is_not_served_names_what_is(tmp_path: Path) -> None:
    slots = Slots()
    slots.swap(MODEL, served(tmp_path))
    with pytest.raises(NotFound, match=r"'letters' is not served here.*tiny"), slots.lease("letters"):
        pass
    assert slots.get("letters") is None
    assert slots.names() == (MODEL,)
    slots.close()
    assert slots.names() == ()
