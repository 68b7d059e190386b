"""Values that must never be printed: their ``repr``, ``str`` and format are ``***``."""

from __future__ import annotations

import hmac


class SecretBytes:
    """Bytes that show as ``***``; ask for them with :meth:`reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")


class SecretText(SecretBytes):
    """Text that shows as ``***``."""

    __slots__ = ()

    def __init__(self, value: str) -> None:
        super().__init__(value.encode())

    def text(self) -> str:
        """Return the text itself."""
        return self._value.decode()
