"""What a dossier asks for: each thing that is stuck, with the command that moves it. Asks no database.

Invariant: where nothing needs to be done, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ddsd.dossier.dossier import Dossier
from ddsd.dossier.people import Access, Capacity, Person
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle.endings import END_PROJECT
from ddsd.mail.tables import MailState
from ddsd.projects.status import Status

_ACTIVE: Final = (JobState.QUEUED, JobState.RUNNING)
_FALLS_DUE: Final = (Status.AVAILABLE, Status.EXPIRED)


@dataclass(frozen=True)
class Advice:
    """What is wrong, and what to do; ``do`` is a command, or who else does what; empty: there is nothing to be done."""

    what: str
    do: str = ""


def advise(dossier: Dossier) -> Sequence[Advice]:
    """Return what needs doing, what endangers data first."""
    return [
        *_about_access(dossier),
        *_about_people(dossier.people, dossier.project.public_id),
        *_about_letters(dossier),
        *_about_jobs(dossier),
        *_about_deadline(dossier),
        *_about_store(dossier),
        *_about_quota(dossier),
    ]


def _about_access(dossier: Dossier) -> Iterator[Advice]:
    if dossier.over:
        return
    opening = [one.name for one in dossier.people if one.access is Access.OPENS]
    if not opening:
        waiting = any(one.access is Access.INVITED for one in dossier.people)
        yield Advice(
            "nobody can open it",
            "the key waits in an invite: its reader registers, and gives it to the others"
            if waiting
            else "deliver the data again, in a new project",
        )
    elif len(opening) == 1:
        yield Advice(
            f"only {opening[0]} can open it",
            "a unit admin makes a recovery kit on the page /recovery-kit"
            if Capacity.KIT not in {one.capacity for one in dossier.people}
            else "",
        )


def _about_people(everybody: Sequence[Person], public_id: str) -> Iterator[Advice]:
    for one in everybody:
        match one.access:
            case Access.LOST | Access.INVITED_WITHOUT_KEY if one.mend:
                yield Advice(f"{one.capacity} {one.name} cannot open it", one.mend)
            case Access.INVITE_EXPIRED:
                yield Advice(
                    f"the invite of {one.name} has expired",
                    f"invite again: dds user add {one.email} --project {public_id}"
                    if one.capacity in {Capacity.OWNER, Capacity.RESEARCHER}
                    else "the unit, or ddsctl invite create, invites again",
                )
            case Access.UNREADY:
                yield Advice(f"{one.name} has no password yet", f"ddsctl user link {one.name}")
            case _ if one.capacity is Capacity.NOT_IN_IT and one.access is Access.OPENS:
                yield Advice(
                    f"{one.name} holds the key and is not in the project",
                    f"ddsctl audit ls --subject {public_id}",
                )


def _about_letters(dossier: Dossier) -> Iterator[Advice]:
    if dossier.over:  # nothing hangs on them any more
        return
    for one in dossier.letters:
        if one.state is MailState.FAILED:
            yield Advice(
                f"letter {one.id} ({one.kind}) to {one.recipient} failed",
                f"ddsctl mail resend {one.id}",
            )
        elif one.state is MailState.QUEUED and one.attempts:
            yield Advice(
                f"letter {one.id} ({one.kind}) to {one.recipient} has not left after {one.attempts} tries",
                f"ddsctl mail show {one.id}",
            )


def _about_jobs(dossier: Dossier) -> Iterator[Advice]:
    newest: dict[str, Job] = {}
    for job in dossier.jobs:
        newest.setdefault(job.kind, job)
    for job in newest.values():
        if job.state is JobState.FAILED:
            yield Advice(f"job {job.id} ({job.kind}) failed", f"ddsctl jobs retry {job.id}")
    at_work = any(job.kind == END_PROJECT and job.state in _ACTIVE for job in dossier.jobs)
    if dossier.project.ending and not at_work:
        yield Advice(
            f"{dossier.project.ending} was begun, and no job works on it", "ddsctl lifecycle run"
        )


def _about_deadline(dossier: Dossier) -> Iterator[Advice]:
    project = dossier.project
    kept, ends = project.purge_after, project.status in _FALLS_DUE
    if kept is not None and not project.ending:
        yield Advice(
            f"archived by its deadline; data is kept until {kept:%Y-%m-%d %H:%M} UTC",
            f"ddsctl project restore {project.public_id}, or a unit admin on the page /projects",
        )
    if dossier.undelivered and (ends or kept is not None):
        yield Advice(
            f"its data is not removed while letters about it ({dossier.undelivered}) are not delivered",
            "see the letters; or end it by hand: ddsctl project "
            f"{'archive' if ends else 'purge'} {project.public_id}",
        )
    if ends and project.deadline is not None and project.deadline <= dossier.read_at:
        yield Advice(
            "its deadline has passed, and the night has not acted yet", "ddsctl lifecycle due"
        )


def _about_store(dossier: Dossier) -> Iterator[Advice]:
    if dossier.findings:
        yield Advice(
            f"store and database disagree in {len(dossier.findings)} thing"
            f"{'s' if len(dossier.findings) > 1 else ''}",
            f"ddsctl files lost ls --project {dossier.project.public_id}",
        )


def _about_quota(dossier: Dossier) -> Iterator[Advice]:
    unit = dossier.unit
    if unit.quota_bytes and unit.used_bytes > unit.level_bytes:
        yield Advice(
            f"unit {unit.public_id} is over the warning level of its quota",
            f"ddsctl unit quota {unit.public_id} --help",
        )
