"""The record of who changed what: rows are added and never altered."""

from __future__ import annotations

import json

from ddsd.audit.tables import AuditEntry
from ddsd.work import Work


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
