"""Files as examples: what each holds, what a model takes of it, and what is refused, by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from littoral.errors import BadData, BadInput, NotFound, Unavailable
from littoral.pixels import opened, upright
from littoral.preparation import Input, Resize
from littoral.resize import resized
from littoral.tensor_spec import TensorSpec
from littoral_node.client.files import examples
from littoral_node.client.model_info import ModelInfo, model_info_from
from littoral_node.serving.tensors import metadata
from tests.kit.models import artifact

GREY = ModelInfo(
    "m", "v", "classification", ("a", "b"), "logits", (1, 4, 6), None, (TensorSpec("x", "UINT8", (-1, 1, 4, 6)),), True
)
SIZED = replace(GREY, resize=("area", "pad"))
TABLE = replace(GREY, shape=(3,), inputs=(TensorSpec("x", "FP32", (-1, 3)),))
PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


def saved(path: Path, pixels: np.ndarray[Any, Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def pgm(path: Path, pixels: np.ndarray[Any, Any], most: int = 255) -> Path:
    kind = "P6" if pixels.ndim == 3 else "P5"
    head = f"{kind}\n# by hand\n{pixels.shape[1]} {pixels.shape[0]}\n{most}\n".encode()
    path.write_bytes(head + pixels.astype(">u2" if most > 255 else "u1").tobytes())
    return path


def test_the_same_pixels_from_every_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    files = [saved(tmp_path / "a.png", PIXELS), pgm(tmp_path / "a.pgm", PIXELS), tmp_path / "a.npy"]
    for path in files:
        assert np.array_equal(examples(path, GREY), PIXELS[None, None]), path


def test_grey_saved_in_colour_is_the_same_image_and_real_colour_is_not_guessed_at(tmp_path: Path) -> None:
    three = np.stack([PIXELS] * 3, axis=-1)
    assert np.array_equal(examples(saved(tmp_path / "grey.png", three), GREY), PIXELS[None, None])
    colour = replace(GREY, shape=(3, 4, 6))
    assert np.array_equal(examples(saved(tmp_path / "g.png", PIXELS), colour)[0], np.stack([PIXELS] * 3))
    three[0, 0, 0] = 200
    with pytest.raises(BadInput, match="in colour, 6 wide and 4 high, m takes grey, 6 wide and 4 high"):
        examples(saved(tmp_path / "red.png", three), GREY)


def test_any_size_becomes_the_models_by_the_manifests_rule_bit_for_bit(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)
    path = saved(tmp_path / "large.png", large)
    wanted = resized(large.transpose(2, 0, 1)[None], (1, 4, 6), "area", "pad")
    assert np.array_equal(examples(path, SIZED), wanted)
    assert np.array_equal(examples(pgm(tmp_path / "large.ppm", large), SIZED), wanted)
    with pytest.raises(BadInput, match="no rule"):
        examples(path, GREY)


def test_sixteen_bits_keep_their_upper_eight_in_png_and_pgm_alike(tmp_path: Path) -> None:
    deep = (PIXELS.astype(np.uint16) << 8) + 77
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(examples(tmp_path / "deep.png", GREY), PIXELS[None, None])
    assert np.array_equal(examples(pgm(tmp_path / "deep.pgm", deep, 65535), GREY), PIXELS[None, None])


def test_a_jpeg_is_seen_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    path = saved(tmp_path / "a.jpg", np.full((8, 2), 200, np.uint8), exif=exif)
    with opened(path) as image:
        assert upright(image).shape == (1, 2, 8)


def test_rows_of_a_table(tmp_path: Path) -> None:
    cases = {"one.json": "[1, 2.5, 3]", "many.json": "[[1, 2.5, 3], [4, 5, 6]]", "many.csv": "a,b,c\n1,2.5,3\n4,5,6\n"}
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
        rows = examples(tmp_path / name, TABLE)
        assert rows.shape == (2 if name.startswith("many") else 1, 3)
        assert rows[0].tolist() == [1, 2.5, 3]


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n", BadData, "cannot be read as an image"),
        ("a.jpg", b"hello", BadData, "cannot be read as an image"),
        ("a.pgm", b"P5 6 4 255 " + bytes(23), BadData, "cut off: 23 of 24"),
        ("a.pgm", b"P2 6 4 255 1 2", BadData, "no binary PGM"),
        ("a.pgm", b"P5 0 4 255 ", BadData, "header has 0 x 4"),
        ("a.pgm", b"P5 6 4 9 " + bytes([10] * 24), BadData, "a pixel over 9"),
        ("a.npy", b"\x93NUMPY", BadData, "no .npy file"),
        ("a.json", b"[1, 2", BadData, "is not JSON"),
        ("a.json", b'{"a": 1}', BadData, "something else than numbers"),
        ("a.json", b"[[1], [2, 3]]", BadData, "one length"),
        ("a.csv", b"a,b\n1,x\n", BadData, "no table of numbers"),
        ("a.json", b"[1, 2]", BadInput, r"holds \[2\], wanted \[1, 4, 6\]"),
        ("a.gif", b"GIF89a", BadInput, "of an unknown kind"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes, error: type[Exception], words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(error, match=words) as refused:
        examples(path, GREY)
    assert str(path) in str(refused.value)


def test_nothing_pickled_is_opened_and_what_is_not_there_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(BadData):
        examples(tmp_path / "bad.npy", GREY)
    with pytest.raises(NotFound, match="No such file"):
        examples(tmp_path / "gone.png", GREY)
    with pytest.raises(BadInput, match="is an image, m takes rows of 3 values"):
        examples(saved(tmp_path / "a.png", PIXELS), TABLE)


def test_an_imported_model_gets_pixels_only_where_it_takes_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", PIXELS)
    taken = replace(GREY, own=False, inputs=(TensorSpec("image", "UINT8", (-1, -1, -1, 1)),))
    assert examples(path, taken).shape == (1, 4, 6, 1)
    with pytest.raises(BadInput, match="no rule that turns one into the other"):
        examples(path, replace(taken, inputs=(TensorSpec("image", "FP32", (-1, 1, 4, 6)),)))
    np.save(tmp_path / "a.npy", np.ones((1, 4, 6), np.float64))
    assert examples(tmp_path / "a.npy", replace(taken, inputs=(TensorSpec("image", "FP32", (-1, 1, 4, 6)),))).dtype == np.float32
    with pytest.raises(BadInput, match="takes 2 tensors, a, b"):
        examples(path, replace(taken, inputs=(TensorSpec("a", "FP32", (1,)), TensorSpec("b", "FP32", (1,)))))


@given(st.binary(max_size=200))
def test_any_bytes_called_pgm_are_read_or_refused(data: bytes) -> None:
    import tempfile

    for suffix in (".pgm", ".json", ".csv", ".npy"):
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(b"P5 1 1 255 " * (suffix == ".pgm") + data)
            file.flush()
            try:
                assert examples(Path(file.name), GREY).shape[1:] == GREY.shape
            except (BadData, BadInput):
                continue


def test_a_nodes_metadata_says_all_of_it_and_another_servers_does_not(tmp_path: Path) -> None:
    manifest = artifact(tmp_path, input=Input("x", (1, 4, 4), 1 / 255, (0.0,), (1.0,), Resize("area", "pad")))
    about = model_info_from(json.loads(orjson.dumps(metadata("tiny", manifest, "sha256:ab"))))
    assert (about.labels, about.shape, about.resize) == (("class 0", "class 1", "class 2"), (1, 4, 4), ("area", "pad"))
    assert (about.own, about.images, about.output) == (True, True, "logits")
    with pytest.raises(Unavailable, match="not of a node of this version"):
        model_info_from({"name": "x", "versions": ["1"], "inputs": [], "outputs": []})
