"""Two clients of a model: of the node that runs here, over its REST interface; of an artifact's folder, in this process."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from littoral.answers import fault_of
from littoral.errors import BadInput, DigestMismatch, FleetError, NotFound, RuntimeFailure, Unavailable, Untrusted
from littoral.signature import DATATYPES, datatype_of
from littoral.transport import asked_at, split_address
from littoral_node.client.model_info import ModelInfo, model_info_from

Array = npt.NDArray[Any]
HEADER_LENGTH = "Inference-Header-Content-Length"
TIMEOUT_S = 60.0
_AGAIN = (408, 429, 502, 503, 504)


class Client(Protocol):
    def model_info(self) -> ModelInfo:
        """Raises NotFound where there is no such model, or none yet; Unavailable where the node does not answer."""
        ...

    def ask(self, info: ModelInfo, values: Array) -> Mapping[str, Array]:
        """Every output by name. Raises BadInput for wrong values, Unavailable where a retry may help."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node's address, and what it demands of clients beyond loopback.

    `address` is host:port. `fingerprint`: SHA-256 of its certificate, hex; "": without TLS.
    """

    address: str
    token: str = ""
    fingerprint: str = ""

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is not open yet. Raises BadInput for a wrong address."""
        host, port = split_address(self.address, "--http")
        if self.fingerprint:
            return _Pinned(asked_at(host), port, self.fingerprint)
        return http.client.HTTPConnection(asked_at(host), port, timeout=TIMEOUT_S)


class _Pinned(http.client.HTTPSConnection):
    """TLS to the server with this certificate: a node signs its certificate itself."""

    def __init__(self, host: str, port: int, fingerprint: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # `connect` compares the certificate
        super().__init__(host, port, timeout=TIMEOUT_S, context=context)
        self._fingerprint = fingerprint.lower()

    def connect(self) -> None:
        """Raises Untrusted for another certificate, before anything is sent."""
        super().connect()
        assert isinstance(self.sock, ssl.SSLSocket)
        shown = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if shown != self._fingerprint:
            self.close()
            raise Untrusted(
                f"node {self.host}:{self.port}: shows the certificate {shown[:16]}..., wanted {self._fingerprint[:16]}...",
                hint="is it this node? its `ready` line has certificate_sha256",
            )


class NodeClient:
    """Args:
    address: the address of its REST interface.
    model: the name of a served model; "": the only one.
    """

    def __init__(self, address: NodeAddress, model: str = "") -> None:
        self._address, self._model = address.address, model
        self._headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self._connection = address.connection()

    def model_info(self) -> ModelInfo:
        if not self._model:
            served = self._call("GET", "/v2/health/ready", accept=(200, 503)).get("models") or []
            if len(served) != 1:
                raise NotFound(
                    f"{self._address}: serves {', '.join(map(str, served)) or 'no model yet'}",
                    hint="name one with --model NAME" if served else "roll one out: littoral-cloud rollout start",
                )
            return model_info_from(self._call("GET", f"/v2/models/{served[0]}"))
        return model_info_from(self._call("GET", f"/v2/models/{self._model}"))

    def ask(self, info: ModelInfo, values: Array) -> Mapping[str, Array]:
        data = np.ascontiguousarray(values).tobytes()
        tensor = {
            "name": info.inputs[0].name,
            "shape": list(values.shape),
            "datatype": datatype_of(values),
            "parameters": {"binary_data_size": len(data)},
        }
        head = json.dumps({"inputs": [tensor]}).encode()
        answer = self._call("POST", f"/v2/models/{info.model}/infer", head + data, {HEADER_LENGTH: str(len(head))})
        return {
            output["name"]: np.asarray(output["data"], DATATYPES[output["datatype"]]).reshape(output["shape"])
            for output in answer["outputs"]
        }

    def close(self) -> None:
        self._connection.close()

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> Any:
        try:
            self._connection.request(method, path, body, {**self._headers, **(headers or {})})
            answer = self._connection.getresponse()
            body_read, status = answer.read(), answer.status
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(
                f"node {self._address}: does not answer: {error}",
                hint="does it run? name its address with --http HOST:PORT",
            ) from error
        try:
            parsed = json.loads(body_read)
        except ValueError as error:
            raise Unavailable(f"node {self._address}: answered {status}, and no JSON", hint="is it littoral-node?") from error
        if status in accept:
            return parsed
        raise _error_of(status, f"node: {parsed.get('error', status)}", str(parsed.get("hint", "")))


class ArtifactClient:
    """A client of an artifact's folder, for example DIR/artifacts/HEX of a node.

    Args:
        trusted: raw Ed25519 public keys by key id; None: the signature is not checked, and `unsigned` is True.
    """

    def __init__(self, folder: Path, trusted: Mapping[str, bytes] | None) -> None:
        from littoral.digest import digest_of, digest_of_file
        from littoral.manifest import Manifest
        from littoral_node.artifacts.manifest_file import ENVELOPE, payload_of
        from littoral_node.artifacts.probe import load_checked

        envelope = (folder / ENVELOPE).read_bytes()
        self.unsigned = trusted is None
        self._digest = digest_of(envelope)
        self._manifest = Manifest.decode(payload_of(envelope)) if trusted is None else Manifest.open(envelope, trusted)
        for file in self._manifest.files:
            if not (folder / file.path).is_file() or digest_of_file(folder / file.path) != file.digest:
                raise DigestMismatch(
                    f"--model {folder}: {file.path} has another digest than in the manifest", hint="copy the artifact again"
                )
        self._loaded = load_checked(self._manifest, folder, 1)

    def model_info(self) -> ModelInfo:
        import orjson  # the same values as over HTTP

        from littoral_node.serving.tensors import metadata

        return model_info_from(orjson.loads(orjson.dumps(metadata(self._manifest.model, self._manifest, self._digest))))

    def ask(self, info: ModelInfo, values: Array) -> Mapping[str, Array]:
        from littoral_node.serving.results import tensors_of

        if self._manifest.signature is not None:
            answers = self._loaded.run({info.inputs[0].name: values})
            self._check(answers)
            return answers
        prepared = self._manifest.input.prepare(values)
        if not np.isfinite(prepared).all():
            raise BadInput("holds values that are no finite numbers, or too large", hint="leave that example out")
        logits = self._loaded.infer(prepared)
        self._check({self._manifest.output.name: logits})
        return tensors_of(self._manifest, logits)

    def _check(self, answers: Mapping[str, Array]) -> None:
        if fault := fault_of(self._manifest, answers):
            raise RuntimeFailure(f"model {self._manifest.name}: {fault}")

    def close(self) -> None:
        self._loaded.close()


def _error_of(status: int, message: str, hint: str) -> FleetError:
    if status in _AGAIN:
        return Unavailable(message, hint=hint)
    if status == 404:
        return NotFound(message, hint=hint)
    return BadInput(message, hint=hint) if status < 500 else RuntimeFailure(message, hint=hint)
