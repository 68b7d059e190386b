"""A project's dossier as the admin plane's wire model."""

from __future__ import annotations

from collections.abc import Sequence

from ddsd.contract import admin as wire
from ddsd.dossier.advice import Advice
from ddsd.dossier.dossier import Dossier, UnitStanding
from ddsd.dossier.people import Person
from ddsd.planes.admin import present


def details(one: Dossier, advice: Sequence[Advice]) -> wire.ProjectDetails:
    """Show everything that is known of a project."""
    return wire.ProjectDetails(
        project=present.project(one.project),
        unit=_unit(one.unit),
        pi=one.pi,
        description=one.description,
        creator=one.creator,
        bucket=one.bucket,
        non_sensitive=one.non_sensitive,
        released_at=one.released_at,
        times_expired=one.times_expired,
        releases_left=one.releases_left,
        extensions_left=one.extensions_left,
        over=one.over,
        people=[_person(somebody) for somebody in one.people],
        history=[
            wire.StatusEntry(status=entry.status.value, at=entry.at, deadline=entry.deadline)
            for entry in one.history
        ],
        letters=[present.mail(letter) for letter in one.letters],
        undelivered=one.undelivered,
        jobs=[present.job(job) for job in one.jobs],
        findings=[present.finding(row) for row in one.findings],
        audit=[present.audit_entry(entry) for entry in one.audit],
        advice=[wire.Advice(what=line.what, do=line.do) for line in advice],
    )


def _unit(one: UnitStanding) -> wire.UnitStanding:
    return wire.UnitStanding(
        public_id=one.public_id,
        name=one.name,
        contact_email=one.contact_email,
        quota_bytes=one.quota_bytes,
        level_bytes=one.level_bytes,
        used_bytes=one.used_bytes,
        enforced=one.enforced,
    )


def _person(one: Person) -> wire.ProjectPerson:
    return wire.ProjectPerson(
        name=one.name,
        email=one.email,
        capacity=one.capacity.value,
        opens=one.access.value,
        mend=one.mend,
        files_fetched=one.fetched.files,
        bytes_fetched=one.fetched.size_bytes,
        last_fetched_at=one.fetched.last_at,
    )
