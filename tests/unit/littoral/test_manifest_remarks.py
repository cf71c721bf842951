"""What a manifest says to whoever releases the artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from littoral.errors import BadManifest
from littoral.manifest import Manifest
from tests.kit.models import artifact


def test_remarks_are_written_and_read_and_left_out_where_there_is_none(tmp_path: Path) -> None:
    plain, remarked = artifact(tmp_path / "a"), artifact(tmp_path / "b", remarks=("learnt nothing",))
    assert Manifest.decode(remarked.encode()).remarks == ("learnt nothing",)
    assert b"remarks" not in plain.encode()
    assert Manifest.decode(plain.encode()).remarks == ()
    body = json.loads(remarked.encode())
    for wrong, named in (("learnt nothing", "remarks: 'learnt nothing' is a text"), ([3], r"remarks\[0\]: 3 is a whole number")):
        with pytest.raises(BadManifest, match=rf"manifest\.{named}"):
            Manifest.decode(json.dumps({**body, "remarks": wrong}).encode())
