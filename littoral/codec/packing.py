"""zstd frames as coded bytes contain them."""

from __future__ import annotations

from littoral.codec.container import WINDOW_LOG


def zstd(data: bytes, *, quick: bool) -> bytes:
    """A frame without magic number, size and checksum, so two bytes more than its blocks."""
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
    """The bytes that zstd makes of data with a dictionary: a quick guess at how well the dictionary fits."""
    import zstandard

    learnt = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if dictionary else None
    return len(zstandard.ZstdCompressor(3, dict_data=learnt).compress(data))
