"""Sizes as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsctl import sizes


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("0", 0),
        ("500", 500),
        ("500B", 500),
        ("1kb", 1000),
        ("1 KiB", 1024),
        ("20TB", 20_000_000_000_000),
        ("1.5TiB", 1_649_267_441_664),
        ("9007199254740993", 9_007_199_254_740_993),
    ],
)
def test_a_size_is_read(written: str, size_bytes: int) -> None:
    assert sizes.parse(written) == size_bytes


@pytest.mark.parametrize("written", ["", "B", "-1", "1XB", "1e9", "1,5GB", "ten", "1 000"])
def test_what_is_no_size_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        sizes.parse(written)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_a_size_is_shown(size_bytes: int, shown: str) -> None:
    assert sizes.show(size_bytes) == shown


@given(st.integers(1024, 2**60))
def test_what_is_shown_is_read_again_as_nearly_the_same(size_bytes: int) -> None:
    assert abs(sizes.parse(sizes.show(size_bytes)) - size_bytes) <= size_bytes * 0.05
