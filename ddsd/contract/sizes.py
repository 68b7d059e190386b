"""Sizes as people write and read them, everywhere the same: in decimal units, as the stock client shows them.

Standard library only: ddsctl starts fast.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEP: Final = 1000
_FACTORS: Final = (
    {"": 1, "b": 1}
    | {f"{letter}ib": 1024**power for power, letter in enumerate("kmgtpe", 1)}
    | {f"{letter}b": 1000**power for power, letter in enumerate("kmgtpe", 1)}
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
            f"'{text}' is no size: write bytes, or a number with kB, MB, GB, TB, PB, EB or KiB … EiB."
        )
    return int(float(written[1]) * factor) if "." in written[1] else int(written[1]) * factor


def show(size_bytes: int) -> str:
    """Return the size with one decimal: ``1.5 TB``, or ``12 B``."""
    amount, power = float(size_bytes), 0
    while round(amount, 1) >= _STEP and power < len(_UNITS) - 1:
        amount, power = amount / _STEP, power + 1
    return f"{amount:.1f} {_UNITS[power]}" if power else f"{size_bytes} B"
