"""``ddsctl audit``: who changed what."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import output, session
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsctl.client import Daemon
    from ddsd.contract.admin import AuditEntry

app = typer.Typer(help="The audit log: who changed what.", no_args_is_help=True)

_AGE: Final = re.compile(r"(\d{1,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PAGE: Final = 500


@app.callback()
def audit() -> None:
    """Keep ``ls`` a command of its own while it is the only one."""


@app.command()
def ls(
    ctx: typer.Context,
    actor: Annotated[
        str | None,
        typer.Option(help="Only what this user or operator did.", show_default=False),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Only what was done to this user, address, project or unit.", show_default=False
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            help="Only this action, such as user.create, or all of a noun, such as user.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Not older than a date (2026-11-22), a moment (2026-11-22T13:00Z) or an age (90m, 12h, 7d, 2w).",
            metavar="WHEN",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many; 0: all.", min=0)] = 50,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List what was changed, newest first.

    Example: ddsctl audit ls --subject maria --since 7d
    """
    from ddsctl.client import Daemon

    here = session.of(ctx, as_json, as_tsv)
    oldest = _moment(since) if since is not None else None
    sought = {"actor": actor, "subject": subject, "action": action, "since": oldest}
    with Daemon(here.socket) as daemon:
        found = _pages(daemon, sought, limit)
    output.show_list(found, _columns(), here.format, empty="There are no such entries.")


def _pages(daemon: Daemon, sought: dict[str, str | None], limit: int) -> list[AuditEntry]:
    from ddsd.contract.admin import AuditEntry

    found: list[AuditEntry] = []
    while not limit or len(found) < limit:
        wanted = min(_PAGE, limit - len(found)) if limit else _PAGE
        before = found[-1].id if found else None
        page = daemon.get_list("/audit", AuditEntry, **sought, before=before, limit=wanted)
        found += page
        if len(page) < wanted:
            break
    return found


def _moment(text: str) -> str:
    try:
        moment = _ago(text) or datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "use a date (2026-11-22), a moment (2026-11-22T13:00Z) or an age (90m, 12h, 7d, 2w)",
            param_hint="--since",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _ago(text: str) -> datetime | None:
    age = _AGE.fullmatch(text)
    return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])}) if age else None


def _columns() -> list[Column[AuditEntry]]:
    return [
        Column("number", lambda one: one.id, right=True),
        Column("when", lambda one: one.at),
        Column("who", lambda one: one.actor),
        Column("did", lambda one: one.action),
        Column("to", lambda one: one.subject),
        Column("facts", lambda one: json.dumps(one.facts, ensure_ascii=False), _facts),
    ]


def _facts(one: AuditEntry) -> str:
    return ", ".join(f"{name}: {value}" for name, value in one.facts.items() if value is not None)
