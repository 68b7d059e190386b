"""``ddsctl status``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import typer

from ddsctl import output, session
from ddsctl.output import Column
from ddsctl.session import AsJson, AsTsv
from ddsd.contract import sizes

if TYPE_CHECKING:
    from ddsd.contract.admin import Status

_LONGEST_REASON: Final = 120


def status(ctx: typer.Context, as_json: AsJson = False, as_tsv: AsTsv = False) -> None:
    """Show how the service is.

    Asks the daemon for its version and revision, whether the database and the object store answer, and what
    waits in the outbox and the job queue.

    Example: ddsctl status
    """
    from ddsctl.client import Daemon
    from ddsd.contract.admin import Status

    here = session.of(ctx, as_json, as_tsv)
    with Daemon(here.socket) as daemon:
        output.show_record(daemon.get("/status", Status), _lines(), here.format)


def _lines() -> list[Column[Status]]:
    return [
        Column("version", lambda one: one.version),
        Column("facility", lambda one: one.facility),
        Column("public address", lambda one: one.public_url),
        Column("certificate", _certificate),
        Column("demo", lambda one: one.demo),
        Column("up", lambda one: one.uptime_s, lambda one: str(timedelta(seconds=one.uptime_s))),
        Column("database", _database),
        Column("store", _store),
        Column("maintenance", lambda one: one.maintenance, _maintenance),
        Column("mail", lambda one: one.mail.kind, _mail),
        Column("letters", lambda one: _counts(one.mail.letters), _letters),
        Column("jobs", lambda one: _counts(one.jobs), _jobs),
        Column("files", lambda one: sum(one.lost.values()), _lost),
        Column("units", lambda one: one.units),
        Column("users", lambda one: one.users),
        Column("projects", lambda one: one.projects),
        Column("quotas", _quotas),
        Column("deadlines", lambda one: one.held, _held),
    ]


def _certificate(one: Status) -> str:
    certificate = one.certificate
    if certificate is None:
        return "none: TLS is the reverse proxy's"
    state = [f"{', '.join(certificate.names)}, until {certificate.expires_at:%Y-%m-%d %H:%M} UTC"]
    if certificate.warning:
        state.append(f"RENEW IT: {certificate.warning}")
    if certificate.problem:
        state.append(f"A NEWER ONE WAS NOT TAKEN: {certificate.problem}")
    return "; ".join(state)


def _database(one: Status) -> str:
    at, head = one.database.revision, one.database.head
    if at == head:
        return f"{one.database.kind}, revision {at}"
    return f"{one.database.kind}, revision {at or 'none'}, needs {head}: run ddsctl db upgrade"


def _store(one: Status) -> str:
    own = one.store.units_with_their_own
    others = f", and those of {own} units" if own > 1 else ", and that of a unit" if own else ""
    if one.store.answers:
        return (
            f"{one.store.kind}{others}, answers" if not own else f"{one.store.kind}{others}, answer"
        )
    return f"{one.store.kind}, DOES NOT ANSWER: {one.store.problem}"


def _maintenance(one: Status) -> str:
    if not one.maintenance:
        return "off"
    return "ON: closed for all but super admins (ddsctl maintenance off)"


def _mail(one: Status) -> str:
    if one.mail.problem:
        return f"{one.mail.kind}, THE LAST LETTER HAS NOT LEFT: {output.shortened(one.mail.problem, _LONGEST_REASON)}"
    if one.mail.sends:
        return one.mail.kind
    return f"{one.mail.kind}: nothing is sent, read letters with ddsctl mail show"


def _letters(one: Status) -> str:
    failed = one.mail.letters.get("failed")
    todo = " (ddsctl mail ls --state failed; ddsctl mail resend --failed)" if failed else ""
    return _counts(one.mail.letters) + todo


def _jobs(one: Status) -> str:
    todo = " (ddsctl jobs ls --state failed; ddsctl jobs retry --failed)"
    return _counts(one.jobs) + (todo if one.jobs.get("failed") else "")


def _lost(one: Status) -> str:
    """Tell what the last comparison of store and database found."""
    if not one.lost:
        return "store and database agree"
    found = ", ".join(f"{count} {kind}" for kind, count in one.lost.items())
    return f"STORE AND DATABASE DISAGREE: {found} (ddsctl files lost ls)"


def _quotas(one: Status) -> str:
    """Name the units over their warning level."""
    over = (
        f"{unit.unit} has {unit.used_bytes / unit.quota_bytes:.0%} of {sizes.show(unit.quota_bytes)} in use"
        for unit in one.quotas
    )
    return "; ".join(over) or "none over the warning level"


def _held(one: Status) -> str:
    if not one.held:
        return "none held back"
    return f"{one.held} HELD BACK, as letters are not delivered: ddsctl lifecycle due"


def _counts(by_state: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in by_state.items() if count) or "none"
