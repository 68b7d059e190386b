"""Sizes as people write and read them."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP: Final = 1024
_FACTORS: Final = (
    {"": 1, "b": 1}
    | {f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)}
    | {f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)}
)
_WRITTEN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse(text: str) -> int:
    """Return the bytes of ``500``, ``10GB`` (decimal) or ``1.5TiB`` (binary).

    Raises:
        ValueError: it is no size.
    """
    written = _WRITTEN.fullmatch(text.strip())
    factor = _FACTORS.get(written[2].lower()) if written else None
    if written is None or factor is None:
        raise ValueError(
            f"'{text}' is no size: write bytes, or a number with KB, MB, GB, TB, PB or KiB … PiB."
        )
    return int(float(written[1]) * factor) if "." in written[1] else int(written[1]) * factor


def show(size_bytes: int) -> str:
    """Return the size with one decimal and a binary unit."""
    power = max(0, min(len(_UNITS) - 1, (size_bytes.bit_length() - 1) // 10))
    amount = size_bytes / _STEP**power
    return f"{amount:.1f} {_UNITS[power]}" if power else f"{size_bytes} B"
