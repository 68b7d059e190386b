"""``ddsctl mail``: the outbox."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsctl import again, completion, output, session
from ddsctl.confirm import DryRun, Yes
from ddsctl.output import Column, Format
from ddsctl.session import AsJson, AsTsv

if TYPE_CHECKING:
    from ddsd.contract.admin import Letter, Mail, Preview

_LONGEST_ERROR: Final = 60


class State(StrEnum):
    """Where a letter is on its way."""

    QUEUED = "queued"
    SENT = "sent"
    KEPT = "kept"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


app = typer.Typer(help="The outbox: letters sent, waiting, failed or kept.", no_args_is_help=True)


@app.command()
def ls(
    ctx: typer.Context,
    to: Annotated[
        str | None, typer.Option(help="Only letters to this address.", show_default=False)
    ] = None,
    state: Annotated[
        State | None, typer.Option(help="Only those in this state.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """List letters, newest first.

    Example: ddsctl mail ls --to maria@example.org
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Mail

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        found = daemon.get_list("/mails", Mail, recipient=to, in_state=state, limit=limit)
    output.show_list(found, _columns(), here.format, empty="There are no letters.")


@app.command()
def show(
    ctx: typer.Context,
    number: Annotated[
        int, typer.Argument(help="The letter's number in ddsctl mail ls.", show_default=False)
    ],
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Show a letter with its text.

    Letters that carry a code or a link are not shown where mail is really sent.

    Example: ddsctl mail show 12
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Letter

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        letter = daemon.get(f"/mails/{number}", Letter)
    output.show_record(letter, _lines(), here.format)
    if here.format is Format.TABLE:
        typer.echo("\n" + output.printable(letter.withheld or letter.text))


@app.command()
def resend(
    ctx: typer.Context,
    number: again.Number = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Instead: all that failed, but codes for one login.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Let letters that have failed leave after all, at once and with as many tries as new ones.

    Reminders and messages of the day that are over by then are withdrawn instead.

    Example: ddsctl mail resend --failed --dry-run
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Mail

    here = session.of(ctx, as_json, as_tsv)
    if again.is_all(number, failed=failed, excluded={}):
        again.try_all(here, "/mails/resend", "letters", dry_run=dry_run, yes=yes)
        return
    again.refuse(dry_run=dry_run)
    with Daemon(here.socket) as daemon:
        queued = daemon.post(f"/mails/{number}/resend", None, Mail)
    output.show_record(queued, _columns(), here.format)


@app.command()
def preview(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="Which letter, such as invite. If not given: the list of them.",
            autocompletion=completion.letters,
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Print the HTML of the letter and nothing else.")
    ] = False,
    as_json: AsJson = False,
    as_tsv: AsTsv = False,
) -> None:
    """Show what a letter looks like here, with made-up facts. Nothing is sent.

    Example: ddsctl mail preview invite --html > invite.html
    """
    from ddsctl.client import Daemon, path
    from ddsd.contract.admin import Preview

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        if name is None:
            found = daemon.get_list("/mail-samples", Preview)
            output.show_list(found, _kinds(), here.format, empty="There are no letters.")
            return
        letter = daemon.get(path("mail-samples", name), Preview)
    if html:
        typer.echo(letter.html)
        return
    output.show_record(letter, _kinds(), here.format)
    if here.format is Format.TABLE:
        typer.echo("\n" + output.printable(letter.text))


def _kinds() -> list[Column[Preview]]:
    return [Column("letter", lambda one: one.kind), Column("subject", lambda one: one.subject)]


def _columns() -> list[Column[Mail]]:
    return [
        Column("number", lambda one: one.id, right=True),
        Column("written", lambda one: one.created_at),
        Column("to", lambda one: one.recipient),
        Column("subject", lambda one: one.subject),
        Column("state", lambda one: one.state),
        Column("attempts", lambda one: one.attempts, right=True),
        Column(
            "last error",
            lambda one: one.last_error,
            lambda one: output.shortened(one.last_error, _LONGEST_ERROR) or "-",
        ),
    ]


def _lines() -> list[Column[Letter]]:
    return [
        Column("to", lambda one: one.mail.recipient),
        Column("subject", lambda one: one.mail.subject),
        Column("state", lambda one: one.mail.state),
        Column("written", lambda one: one.mail.created_at),
        Column("sent", lambda one: one.mail.sent_at),
        Column("last error", lambda one: one.mail.last_error),
    ]
