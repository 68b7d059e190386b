"""What a command needs to know of the command line it is part of: which daemon, which form of output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from ddsctl.output import Format

DEFAULT_SOCKET: Final = Path("/run/ddsd/admin.sock")

AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print JSON: every field, exact values.", rich_help_panel="Output"),
]
AsTsv = Annotated[
    bool,
    typer.Option(
        "--tsv",
        help="Print tab-separated values with a header, exact values.",
        rich_help_panel="Output",
    ),
]


@dataclass(frozen=True)
class Session:
    """One run of ddsctl."""

    socket: Path = DEFAULT_SOCKET
    format: Format = Format.TABLE


def of(ctx: typer.Context, as_json: bool = False, as_tsv: bool = False) -> Session:
    """Return the session of a command; ``--json`` and ``--tsv`` may stand before or after the command's name."""
    session = ctx.find_object(Session) or Session()
    return replace(session, format=choose_format(session.format, as_json, as_tsv))


def choose_format(otherwise: Format, as_json: bool, as_tsv: bool) -> Format:
    """Return the form of output that was asked for last.

    Raises:
        BadParameter: both were.
    """
    if as_json and as_tsv:
        raise typer.BadParameter("--json and --tsv exclude each other.")
    if as_json:
        return Format.JSON
    return Format.TSV if as_tsv else otherwise
