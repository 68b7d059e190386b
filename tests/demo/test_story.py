"""What the demonstration tells: lines, a table, and on a terminal a bar that goes away again."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ddsd.demo.story import Story


def plain() -> tuple[Story, io.StringIO]:
    output = io.StringIO()
    return Story(Console(file=output, width=40)), output


def test_a_step_is_one_line_however_long_it_is() -> None:
    story, output = plain()

    with story.step("seal a[b]/name with brackets.txt") as step:
        step.detail = "one" * 30
        step.size_bytes = 1_500_000

    assert output.getvalue().count("\n") == 1
    assert "seal a[b]/name with brackets.txt" in output.getvalue()
    assert "1.5 MB" in output.getvalue()


def test_a_failed_step_is_told_and_not_kept() -> None:
    story, output = plain()

    with pytest.raises(ValueError, match="no"), story.step("try"):
        raise ValueError("no")

    assert output.getvalue() == "✗ try\n"
    assert story.steps == ()


def test_a_transfer_off_a_terminal_is_one_line() -> None:
    story, output = plain()

    with story.transfer("upload", 2_000) as advance:
        advance(1_000)
        advance(1_000)

    assert output.getvalue().startswith("✓ upload  (2.0 kB, ")
    assert output.getvalue().count("\n") == 1


def test_a_transfer_on_a_terminal_shows_its_progress() -> None:
    output = io.StringIO()
    story = Story(Console(file=output, width=80, force_terminal=True))

    with story.transfer("upload", 2_000) as advance:
        advance(2_000)

    assert "2.0/2.0 kB" in output.getvalue()


def test_the_table_has_a_row_for_every_step() -> None:
    story, _ = plain()
    with story.step("first [one]") as step:
        step.size_bytes = 5
    with story.step("second"):
        pass
    output = io.StringIO()

    Console(file=output, width=80).print(story.table())

    assert story.table().row_count == 2
    assert "first [one]" in output.getvalue()
    assert "5 bytes" in output.getvalue()
