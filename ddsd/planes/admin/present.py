"""The domain's values as the admin plane's wire models, and back."""

from __future__ import annotations

import json
from typing import Final

from ddsd.access import Role
from ddsd.audit.tables import AuditEntry
from ddsd.contract import admin as wire
from ddsd.contract import words
from ddsd.files.reconciliation import FindingRow
from ddsd.files.tables import StoreCheckResult
from ddsd.jobs import schedule
from ddsd.jobs.schedule import Cron, Every
from ddsd.jobs.tables import Job
from ddsd.lifecycle.deadlines import Due
from ddsd.mail.outbox import Envelope, LetterView
from ddsd.notices.reminders import Ending, UnitDays
from ddsd.notices.tables import Motd
from ddsd.projects.overview import Load, ProjectRow
from ddsd.projects.staffing import Pending
from ddsd.projects.status import Verb
from ddsd.storage.check.outcome import Check
from ddsd.units.units import UnitRow
from ddsd.usage.bytehours import cost
from ddsd.usage.monthly import Collected
from ddsd.usage.quota import Standing
from ddsd.usage.reports import ProjectUsage
from ddsd.users.accounts import Details, Listed, NewAccount
from ddsd.users.standing import Login
from ddsd.users.tables import SecondFactor, User

ROLES: Final = {word: Role[word.name] for word in words.Role}
VERBS: Final = {word: Verb[word.name] for word in words.ProjectVerb}
ROLE_WORDS: Final = {role: word for word, role in ROLES.items()}


def unit(row: UnitRow, load: Load, reminders: UnitDays | None = None) -> wire.Unit:
    """Show a unit with what it has, and when its researchers are reminded if that is known."""
    return wire.Unit(
        public_id=row.public_id,
        name=row.name,
        external_display_name=row.external_display_name,
        contact_email=row.contact_email,
        internal_ref=row.internal_ref,
        days_in_available=row.days_in_available,
        days_in_expired=row.days_in_expired,
        quota_bytes=row.quota_bytes,
        warning_level=row.warning_level,
        quota_enforced=row.quota_enforced,
        undo_days=row.undo_days,
        reminder_days=list(reminders.days) if reminders else None,
        bytes_stored=load.bytes_stored,
        users=load.users,
        projects=load.projects,
        created_at=row.created_at,
    )


def motd(one: Motd) -> wire.Motd:
    """Show a message of the day."""
    return wire.Motd(id=one.id, message=one.message, created_at=one.created_at, active=one.active)


def due_reminder(one: Ending) -> wire.DueReminder:
    """Show a project that reminders are due for."""
    return wire.DueReminder(
        unit=one.unit.public_id,
        public_id=one.project.public_id,
        deadline=one.deadline,
        step=one.step,
        lacking=len(one.lacking),
        to_remind=[person.email for person in one.to_remind],
        tells_unit=one.tells_unit,
    )


def unit_reminders(one: UnitDays) -> wire.UnitReminders:
    """Show when a unit's researchers are reminded."""
    return wire.UnitReminders(unit=one.unit.public_id, days=list(one.days), own=one.own)


def project(row: ProjectRow) -> wire.Project:
    """Show a project."""
    return wire.Project(
        public_id=row.public_id,
        unit=row.unit_public_id,
        title=row.title,
        status=row.status.value,
        deadline=row.deadline,
        file_count=row.file_count,
        bytes_stored=row.bytes_stored,
        bytes_original=row.bytes_original,
        created_at=row.created_at,
        ending=row.ending,
        purge_after=row.purge_after,
    )


def due(one: Due) -> wire.Due:
    """Show a project that is due."""
    return wire.Due(
        project=one.public_id,
        unit=one.unit,
        status=one.status.value,
        step=one.step.value,
        since=one.since,
        held=one.held,
    )


def used(one: ProjectUsage, price_gb_month: float) -> wire.ProjectUsage:
    """Show what a project used."""
    return wire.ProjectUsage(
        unit=one.unit_public_id,
        project=one.public_id,
        title=one.title,
        created_at=one.created_at,
        month=str(one.month) if one.month else None,
        byte_hours=one.byte_hours,
        cost=cost(one.byte_hours, price_gb_month),
        collected_at=one.collected_at,
    )


def month_of_usage(one: Collected) -> wire.MonthOfUsage:
    """Show a month that was, or would be, written down."""
    return wire.MonthOfUsage(
        month=str(one.month),
        projects=one.projects,
        byte_hours=one.byte_hours,
        bytes_uploaded=one.bytes_uploaded,
    )


def standing(one: Standing) -> wire.QuotaStatus:
    """Show a unit beside its quota."""
    return wire.QuotaStatus(
        unit=one.unit_public_id, quota_bytes=one.quota_bytes, used_bytes=one.used_bytes
    )


def mail(row: Envelope) -> wire.Mail:
    """Show a letter without its text."""
    return wire.Mail(
        id=row.id,
        kind=row.kind,
        recipient=row.recipient,
        subject=row.subject,
        state=row.state.value,
        attempts=row.attempts,
        created_at=row.created_at,
        sent_at=row.sent_at,
        last_error=row.last_error,
    )


def letter(view: LetterView) -> wire.Letter:
    """Show a letter with its text, or why that is withheld."""
    return wire.Letter(mail=mail(view.envelope), text=view.text, withheld=view.withheld)


def user(account: Listed) -> wire.User:
    """Show an account."""
    return wire.User(
        username=account.username,
        name=account.name,
        email=account.email,
        role=ROLE_WORDS[account.role],
        unit=account.unit_public_id,
        active=account.active,
        has_password=account.has_password,
        created_at=account.created_at,
    )


def new_user(made: NewAccount) -> wire.NewUser:
    """Show the link of a new account: the only time anybody sees it."""
    return wire.NewUser(username=made.user.username, link=made.link, link_hours=made.link_hours)


def user_details(account: User, known: Details, living: int) -> wire.UserDetails:
    """Show an account with what hangs on it."""
    return wire.UserDetails(
        user=user(known.listed),
        emails=list(known.emails),
        second_factor="app" if account.second_factor is SecondFactor.APP else "mail",
        passkeys=known.passkeys,
        recovery_codes=known.recovery_codes,
        keys=known.projects,
        password_set_at=account.password_set_at,
        sessions=living,
    )


def invite(one: Pending) -> wire.Invite:
    """Show an invite, without its link."""
    return wire.Invite(
        email=one.email,
        role=ROLE_WORDS[one.role],
        unit=one.unit_public_id,
        created_at=one.created_at,
        expires_at=one.expires_at,
        projects=list(one.projects),
    )


def login(one: Login) -> wire.Session:
    """Show a living session; nothing of it is a token."""
    return wire.Session(
        id=one.id,
        username=one.username,
        kind=one.kind.value,
        address=one.address,
        agent=one.agent,
        created_at=one.created_at,
        expires_at=one.expires_at,
        partial=one.partial,
    )


def job(one: Job, tried_since: int | None = None) -> wire.Job:
    """Show a job."""
    return wire.Job(
        id=one.id,
        kind=one.kind,
        subject=one.subject,
        state=one.state.value,
        done=one.done,
        total=one.total,
        attempts=one.attempts,
        run_after=one.run_after,
        claimed_by=one.claimed_by,
        alive_at=one.alive_at,
        created_at=one.created_at,
        finished_at=one.finished_at,
        last_error=one.last_error,
        tried_since=tried_since,
    )


def store_check(check: Check, result: StoreCheckResult) -> wire.StoreCheck:
    """Show what came of one check of a store."""
    return wire.StoreCheck(
        name=check.name,
        capability=check.capability,
        verdict=words.Verdict(result.verdict.value),
        seen=result.seen,
        meaning=check.meaning,
        remedy=check.remedy,
        seconds=result.seconds,
        checked_at=result.checked_at,
    )


def scheduled(one: schedule.ScheduledJob) -> wire.ScheduledJob:
    """Show what comes by the clock."""
    match one.when:
        case Cron(line=line):
            when = line
        case Every(interval=interval):
            when = f"every {interval}"
    return wire.ScheduledJob(kind=one.kind, subject=one.subject, when=when, at_start=one.at_start)


def finding(row: FindingRow) -> wire.Finding:
    """Show in what store and database disagreed."""
    one = row.finding
    return wire.Finding(
        id=one.id,
        kind=words.FindingKind[one.kind.name],
        project=row.project,
        bucket=one.bucket,
        key=one.key,
        file=one.name,
        bytes_registered=one.bytes_registered,
        bytes_found=one.bytes_found,
        found_at=one.found_at,
        seen_at=one.seen_at,
    )


def audit_entry(one: AuditEntry) -> wire.AuditEntry:
    """Show a line of the audit log."""
    return wire.AuditEntry(
        id=one.id,
        at=one.at,
        actor=one.actor,
        action=one.action,
        subject=one.subject,
        facts=json.loads(one.facts),
    )
