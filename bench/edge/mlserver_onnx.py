"""What MLServer runs here: the ONNX model with onnxruntime, prepared and answered as a node does it.

Imported by MLServer in its own environment, from model-settings.json; knows nothing of Littoral.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(extra["model"], options, providers=["CPUExecutionProvider"])
        self._scale = np.float32(extra["scale"])
        shape = (1, -1, *(1 for _ in extra["shape"][1:]))
        self._mean, self._std = (np.asarray(extra[name], np.float32).reshape(shape) for name in ("mean", "std"))
        self._input, self._output = extra["input"], extra["output"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        prepared = (x * self._scale - self._mean) / self._std
        [logits] = self._session.run([self._output], {self._input: prepared})
        outputs = [NumpyCodec.encode_output(self._output, logits), NumpyCodec.encode_output("label", logits.argmax(1))]
        return InferenceResponse(model_name=self.name, outputs=outputs)
