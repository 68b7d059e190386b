"""Which files are compressed, and what the frame they become looks like."""

from __future__ import annotations

import bz2
import gzip
import zipfile
from io import BytesIO

import pytest
import zstandard

from ddsctl.delivery.compression import (
    MAGIC_LENGTH,
    MAGIC_NUMBERS,
    FrameBroken,
    FrameReader,
    compressed,
    is_compressed,
)


@pytest.mark.parametrize("magic", MAGIC_NUMBERS)
def test_a_file_that_begins_with_a_known_magic_number_is_compressed(magic: bytes) -> None:
    assert is_compressed(magic + b"and what follows")
    assert is_compressed(magic)
    assert not is_compressed(magic[:-1])
    assert not is_compressed(b" " + magic)


def test_what_the_usual_tools_write_is_compressed() -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("a", "b")

    for written in (
        gzip.compress(b"x"),
        bz2.compress(b"x"),
        zstandard.compress(b"x"),
        archive.getvalue(),
    ):
        assert is_compressed(written[:MAGIC_LENGTH])


@pytest.mark.parametrize("start", [b"", b"@read1\nACGT", b"\x1f", b"\xfd7zXZ\x00", b"LZIP"])
def test_everything_else_is_not_compressed(start: bytes) -> None:
    assert not is_compressed(start)


def test_a_frame_has_a_checksum_no_content_size_and_a_window_of_two_mebibytes() -> None:
    frame = b"".join(compressed([b"ACGT" * 1_000_000]))

    parameters = zstandard.get_frame_parameters(frame)

    assert parameters.has_checksum
    assert parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN
    assert parameters.window_size == 2 * 1024 * 1024


def test_the_frame_of_an_empty_file_has_thirteen_bytes() -> None:
    assert len(b"".join(compressed([]))) == 13


def test_what_comes_after_a_frame_is_refused_even_when_it_comes_later() -> None:
    back = bytearray()
    reader = FrameReader(back.extend)
    reader.write(memoryview(b"".join(compressed([b"original"]))))

    with pytest.raises(FrameBroken, match="follows the end"):
        reader.write(memoryview(b"more"))

    assert back == b"original"
