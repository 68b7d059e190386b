"""Whether a file is compressed before it is encrypted, and the one zstd frame that it becomes.

Inherited format: the stock client's list of magic numbers and its zstd settings (level 4, content
checksum, no content size), wire contract §8.1. A payload is exactly one frame: an unfinished frame
and bytes after it are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import zstandard

from ddsctl.delivery import DamagedObject

MAGIC_NUMBERS: Final = (
    b"\x913HF",  # hap
    b"`\xea",  # arj
    b"_'\xa8\x89",  # jar
    b"ZOO ",  # zoo
    b"PK\x03\x04",  # zip
    b"\x1f\x8b",  # gzip, and therefore bgzip and bam
    b"UFA\xc6\xd2\xc1",  # ufa
    b"StuffIt ",  # sit
    b"Rar!\x1a\x07\x00",  # rar 4
    b"Rar!\x1a\x07\x01\x00",  # rar 5
    b"MAr0\x00",  # mar
    b"DMS!",  # dms
    b"CRUSH v",  # cru
    b"BZh",  # bzip2
    b"-lh",  # lha
    b"(This fi",  # hqx
    b"!\x12",  # ain
    b"\x1a\x0b",  # pak
    b"(\xb5/\xfd",  # zstd
)
MAGIC_LENGTH: Final = max(map(len, MAGIC_NUMBERS))

LEVEL: Final = 4
# Level 4 asks for a window of 2 MiB; RFC 8878 recommends that every decoder supports 8 MiB.
MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
# Four bytes of a frame can stand for 128 KiB, so this much input yields 16 MiB at the very most.
_INPUT_SLICE_BYTES: Final = 512


class FrameBroken(DamagedObject):
    """The payload is not one complete, intact zstd frame."""


def is_compressed(start: bytes) -> bool:
    """Say whether a file that begins with ``start`` is compressed already and is stored as it is.

    ``start``: the first :data:`MAGIC_LENGTH` bytes, or the whole of a shorter file.
    """
    return start.startswith(MAGIC_NUMBERS)


def compressed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the blocks of a file into the pieces of one zstd frame; no piece is empty."""
    frame = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    for block in blocks:
        if piece := frame.compress(block):
            yield piece
    yield frame.flush()


class FrameReader:
    """Decompresses one zstd frame into ``take``, in pieces of at most 16 MiB.

    The pieces are small so that a frame made to explode can be stopped by ``take`` in time.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        self._frame = decompressor.decompressobj()

    def write(self, payload: memoryview) -> None:
        """Decompress the next bytes of the frame.

        Raises: FrameBroken when they are not zstd, fail zstd's own checksum, need a window over
        8 MiB, or follow the end of the frame.
        """
        for start in range(0, len(payload), _INPUT_SLICE_BYTES):
            if original := self._decompress(bytes(payload[start : start + _INPUT_SLICE_BYTES])):
                self._take(original)

    def finish(self) -> None:
        """Raise FrameBroken unless the frame is complete."""
        if not self._frame.eof:
            raise FrameBroken("the compressed data ends too early")

    def _decompress(self, piece: bytes) -> bytes:
        if self._frame.eof:
            raise FrameBroken("something follows the end of the compressed data")
        try:
            original = self._frame.decompress(piece)
        except zstandard.ZstdError as error:
            raise FrameBroken(f"the compressed data is damaged: {error}") from error
        if self._frame.unused_data:
            raise FrameBroken("something follows the end of the compressed data")
        return original
