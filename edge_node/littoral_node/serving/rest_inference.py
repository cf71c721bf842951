"""Answers requests for inference over REST: unpacks the body, reads its JSON and tensors, and encodes the answer.

Small bodies are read in the event loop itself. Long work goes through the thread of the service, piece by piece.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from littoral_node.serving.body_memory import BodyMemory
from littoral_node.serving.http.errors import BodyTooLarge
from littoral_node.serving.http.handler import Reply
from littoral_node.serving.http.http1 import Head, unpacked
from littoral_node.serving.large import large_json
from littoral_node.serving.rest_requests import HEADER_LENGTH, INLINE_BYTES, json_of, split
from littoral_node.serving.service import Service
from littoral_node.serving.tensors import asked
from littoral_node.serving.values import has_truths


class RestInference:
    """For one event loop.

    Args:
        memory: for the bytes of unpacked bodies.
        max_bytes: of a body, unpacked.
    """

    def __init__(self, service: Service, memory: BodyMemory, max_bytes: int) -> None:
        self._service, self._memory, self._max_bytes = service, memory, max_bytes

    async def answer(self, name: str, version: str, head: Head, body: bytes | bytearray) -> Reply:
        if "content-encoding" in head.headers:
            return await self._packed(name, version, head, body)
        text, tail = split(body, head.headers.get(HEADER_LENGTH))
        parsed = json_of(text) if len(text) <= INLINE_BYTES else await self._service.beside(large_json, text)
        answer = await self._service.infer(name, asked(parsed, tail, truths=has_truths(text)), version)
        encoded, length = await self._service.beside(answer.encode) if answer.large else answer.encode()
        if length is None:
            return Reply(200, encoded)
        return Reply(200, encoded, ((HEADER_LENGTH, str(length)),), "application/octet-stream")

    async def _packed(self, name: str, version: str, head: Head, body: bytes | bytearray) -> Reply:
        headers = dict(head.headers)
        body = await self._unpacked(body, headers.pop("content-encoding"))
        reserved = self._memory.reserve(len(body), 0)
        try:
            return await self.answer(name, version, replace(head, headers=headers), body)
        finally:
            self._memory.release(reserved)

    async def _unpacked(self, body: bytes | bytearray, coding: str) -> bytes | bytearray:
        if len(body) <= INLINE_BYTES:
            with suppress(BodyTooLarge):
                return unpacked(body, coding, min(INLINE_BYTES, self._max_bytes))
        return await self._service.beside(unpacked, body, coding, self._max_bytes)
