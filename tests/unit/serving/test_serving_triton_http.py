"""REST asked by an unmodified tritonclient: what is right is answered, what is wrong refused by name, and nobody is harmed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from tests.kit.models import SHAPE, images, logits_of, weights
from tests.kit.serving import MODEL, open_node, served


@asynccontextmanager
async def client_of(folder: Path, **options: Any) -> AsyncIterator[Any]:
    async with open_node(served(folder), **options) as node:
        client = triton.InferenceServerClient(f"127.0.0.1:{node.server.port}")
        try:
            yield client
        finally:
            await client.close()


def tensor(x: npt.NDArray[Any], datatype: str = "UINT8", name: str = "x", *, binary: bool = True) -> Any:
    given = triton.InferInput(name, list(x.shape), datatype)
    given.set_data_from_numpy(x, binary_data=binary)
    return given


def truncated() -> Any:
    x = images(1)
    return tensor(x[:, :, :3]).set_shape(x.shape)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
async def test_an_inference(binary: bool, packed: str | None, tmp_path: Path) -> None:
    x = images(3)
    async with client_of(tmp_path) as client:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "logits")]
        answer = await client.infer(MODEL, [tensor(x, binary=binary)], outputs=outputs, request_compression_algorithm=packed)
        np.testing.assert_allclose(answer.as_numpy("logits"), logits_of(x, weights()), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(answer.as_numpy("label"), logits_of(x, weights()).argmax(1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(tensor(images(1).reshape(1, 1, 2, 8)), "inputs[0].shape", id="shape"),
        pytest.param(tensor(images(1), name="y"), "inputs[0].name", id="name"),
        pytest.param(tensor(np.array([b"a"], np.object_), "BYTES"), "inputs[0].datatype", id="datatype"),
        pytest.param(tensor(np.full((1, *SHAPE), np.nan, np.float32), "FP32"), "not finite", id="nan"),
        pytest.param(tensor(np.full((1, *SHAPE), np.inf, np.float32), "FP32", binary=False), "", id="infinite, as JSON"),
        pytest.param(truncated(), "binary_data_size: 12", id="truncated"),
        pytest.param(tensor(np.zeros((0, *SHAPE), np.uint8)), "inputs[0].shape", id="no example"),
    ],
)
async def test_a_wrong_request_is_refused_by_name(given: Any, said: str, tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        with pytest.raises(InferenceServerException) as caught:
            await client.infer(MODEL, [given])
        assert caught.value.status() == "400"
        assert said in caught.value.message()
        assert (await client.infer(MODEL, [tensor(images(1))])).as_numpy("label").shape == (1,)


async def test_what_is_not_there_and_what_is_too_large(tmp_path: Path) -> None:
    async with client_of(tmp_path, max_body_bytes=2_000) as client:
        for asked, status in (
            (client.infer("other", [tensor(images(1))]), "404"),
            (client.infer(MODEL, [tensor(images(1))], model_version="old"), "404"),
            (client.infer(MODEL, [tensor(images(250))]), "413"),
            (client.infer(MODEL, [tensor(np.zeros((250, *SHAPE), np.uint8))], request_compression_algorithm="gzip"), "413"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                await asked
            assert caught.value.status() == status
        assert (await client.infer(MODEL, [tensor(images(1))])).as_numpy("label").shape == (1,)
