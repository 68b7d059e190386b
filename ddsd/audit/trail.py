"""The record of who changed what: rows are added and never altered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select

from ddsd.access import Action, require
from ddsd.audit.tables import AuditEntry
from ddsd.work import Work


@dataclass(frozen=True)
class Sought:
    """Which entries are asked for; what is ``None`` does not matter.

    Args:
        actor: a whole label, or only the name in it: ``maria`` stands for the user and for the operator of that name.
        subject: exactly.
        action: exactly, or the part before a dot: ``user`` stands for ``user.create`` and all others.
        since: not older.
        before: entries with a smaller number only: where the last page ended.
    """

    actor: str | None = None
    subject: str | None = None
    action: str | None = None
    since: datetime | None = None
    before: int | None = None


def record(work: Work, action: str, subject: str, **facts: str | int | bool | None) -> None:
    """Add a line to the audit log, in the same transaction as what it tells of.

    Args:
        work: whose actor and moment are recorded.
        action: a dotted verb of the domain, such as ``project.release``.
        subject: what it was done to, by its public name.
        facts: what else matters; never a secret.
    """
    work.session.add(
        AuditEntry(
            at=work.now,
            actor=work.actor.label,
            action=action,
            subject=subject,
            facts=json.dumps(facts, sort_keys=True, ensure_ascii=False),
        )
    )


async def listing(work: Work, sought: Sought, limit: int) -> Sequence[AuditEntry]:
    """Return the newest ``limit`` entries that are sought, newest first.

    Raises:
        Forbidden: the actor does not operate this service.
    """
    require(work.actor, Action.OPERATE)
    table = AuditEntry.columns()
    query = select(AuditEntry).where(*_conditions(sought)).order_by(table.id.desc()).limit(limit)
    return (await work.session.scalars(query)).all()


def _conditions(sought: Sought) -> list[ColumnElement[bool]]:
    table = AuditEntry.columns()
    wanted: list[ColumnElement[bool]] = []
    if sought.actor is not None:
        wanted.append(
            or_(
                table.actor.in_([sought.actor, f"user {sought.actor}"]),
                table.actor.startswith(f"operator {sought.actor} (", autoescape=True),
            )
        )
    if sought.subject is not None:
        wanted.append(table.subject == sought.subject)
    if sought.action is not None:
        within = table.action.startswith(f"{sought.action}.", autoescape=True)
        wanted.append(or_(table.action == sought.action, within))
    if sought.since is not None:
        wanted.append(table.at >= sought.since)
    if sought.before is not None:
        wanted.append(table.id < sought.before)
    return wanted
