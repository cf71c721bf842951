"""Bytes of blobs that went over the fleet listener, since the start of this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TransferCounts:
    sent_bytes: int = 0
    received_bytes: int = 0
