"""From a file to the fewest bytes that give it back."""

from __future__ import annotations

from littoral.codec.container import MAGIC, STORED, WINDOW_LOG, ZSTD, varint


def encode(data: bytes) -> bytes:
    """Coded bytes: `decode` gives `data` back. The same bytes give the same code, with one version of zstd."""
    head = bytes([MAGIC]) + varint(len(data))
    packed = _zstd(data)
    if len(packed) < len(data):
        return head + bytes([ZSTD]) + packed
    return head + bytes([STORED]) + data


def _zstd(data: bytes) -> bytes:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        19,
        source_size=len(data),
        window_log=min(WINDOW_LOG, max(10, len(data).bit_length())),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)
