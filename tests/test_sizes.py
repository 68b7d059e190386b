"""Sizes as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.contract import sizes


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
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_250_000, "1.2 MB"),
        (999_999_999, "1.0 GB"),
        (20 * 10**12, "20.0 TB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_a_size_is_shown_in_decimal_units(size_bytes: int, shown: str) -> None:
    assert sizes.show(size_bytes) == shown


@given(st.integers(1000, 2**62))
def test_what_is_shown_is_read_again_as_nearly_the_same(size_bytes: int) -> None:
    assert abs(sizes.parse(sizes.show(size_bytes)) - size_bytes) <= size_bytes * 0.05
