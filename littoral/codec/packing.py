"""zstd, as the coded bytes hold it."""

from __future__ import annotations

from littoral.codec.container import WINDOW_LOG


def zstd(data: bytes, *, quick: bool) -> bytes:
    """A frame without magic number, size and checksum: two bytes beside its blocks."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        3 if quick else 19,
        source_size=len(data),
        window_log=min(WINDOW_LOG, max(10, len(data).bit_length())),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def zstd_after(data: bytes, dictionary: bytes) -> int:
    """Bytes that it takes for data whose reader has read a dictionary."""
    import zstandard

    learnt = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if dictionary else None
    return len(zstandard.ZstdCompressor(3, dict_data=learnt).compress(data))
