"""The one renderer: what commands print, as a table for people or as JSON or TSV for programs.

What came from elsewhere (titles, names, mail) is never able to steer the terminal: control characters are shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Final, Generic, TypeVar, assert_never

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

Item = TypeVar("Item", bound="BaseModel")
Cell = str | int | float | bool | datetime | None

_NO_WRAPPING: Final = 100_000


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"
    TSV = "tsv"


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column, or a line of a record. ``exact`` is what TSV prints, ``shown`` what people see if that differs."""

    title: str
    exact: Callable[[Item], Cell]
    shown: Callable[[Item], str] | None = None
    right: bool = False

    def text(self, item: Item) -> str:
        """Return what people see."""
        return printable(self.shown(item) if self.shown else _plain(self.exact(item)))


def show_list(
    items: Sequence[Item], columns: Sequence[Column[Item]], form: Format, *, empty: str
) -> None:
    """Print many. ``empty`` is what people are told when there are none."""
    match form:
        case Format.JSON:
            _print_json([item.model_dump(mode="json") for item in items])
        case Format.TSV:
            _print_tsv([[column.title for column in columns]])
            _print_tsv([[exact(column.exact(item)) for column in columns] for item in items])
        case Format.TABLE if not items:
            typer.echo(empty, err=True)
        case Format.TABLE:
            _print_table(items, columns)
        case _:
            assert_never(form)


def show_record(item: Item, lines: Sequence[Column[Item]], form: Format) -> None:
    """Print one, a line per field."""
    match form:
        case Format.JSON:
            _print_json(item.model_dump(mode="json"))
        case Format.TSV:
            _print_tsv([[line.title, exact(line.exact(item))] for line in lines])
        case Format.TABLE:
            width = max(len(line.title) for line in lines)
            for line in lines:
                typer.echo(f"{line.title:<{width}}  {line.text(item)}")
        case _:
            assert_never(form)


def moment(at: datetime | None) -> str:
    """Return a moment as people read it, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if at else "-"


def printable(text: str) -> str:
    """Return the text with every control character but the line break written out."""
    return "".join(
        one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def shortened(text: str, most: int) -> str:
    """Return the text on one line, and of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _plain(cell: Cell) -> str:
    match cell:
        case bool():
            return "yes" if cell else "no"
        case None | "":
            return "-"
        case datetime():
            return moment(cell)
        case _:
            return str(cell)


def exact(cell: Cell) -> str:
    """Return what programs read: nothing for what is not there, RFC 3339 in UTC for a moment."""
    match cell:
        case bool():
            return "true" if cell else "false"
        case None:
            return ""
        case datetime():
            return cell.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            return str(cell)


def _print_json(tree: object) -> None:
    typer.echo(json.dumps(tree, indent=2, ensure_ascii=False))


def _print_tsv(rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        typer.echo("\t".join(printable(cell).replace("\n", "\\n") for cell in row))


def _print_table(items: Sequence[Item], columns: Sequence[Column[Item]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.title), justify="right" if column.right else "left", overflow="fold"
        )
    for item in items:
        table.add_row(*(Text(column.text(item)) for column in columns))
    if sys.stdout.isatty():
        Console(file=sys.stdout).print(table)
        return
    drawn = StringIO()
    Console(file=drawn, width=_NO_WRAPPING).print(table)
    for line in drawn.getvalue().splitlines():
        typer.echo(line.rstrip())
