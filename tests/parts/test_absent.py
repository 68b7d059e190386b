"""A missing part skips a test, unless parts are required."""

from __future__ import annotations

import pytest

from tests.parts import REQUIRE_PARTS, absent


def test_a_missing_part_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_PARTS, raising=False)
    with pytest.raises(pytest.skip.Exception, match="a mail server is not here: none on PATH"):
        absent("a mail server", "none on PATH")


def test_a_missing_part_fails_when_parts_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_PARTS, "1")
    with pytest.raises(pytest.fail.Exception, match="a mail server is not here: none on PATH"):
        absent("a mail server", "none on PATH")
