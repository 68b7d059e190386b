"""What is told of a project, and what its dossier asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from ddsd.access import Nobody, Operator, Role, System
from ddsd.dossier import advice, dossier
from ddsd.dossier.dossier import Dossier
from ddsd.dossier.people import Access, Capacity
from ddsd.errors import Forbidden, NotFound
from ddsd.files.tables import Download, Finding, FindingKind, StoredFile
from ddsd.jobs.tables import Job, JobState
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.lifecycle import endings, housekeeping, verbs
from ddsd.mail import outbox
from ddsd.mail.tables import Mail, MailState
from ddsd.projects.status import Status, Verb
from ddsd.projects.tables import Membership, Project
from ddsd.units.tables import Unit
from ddsd.users.tables import Invite, User
from ddsd.work import Services, Work, reading, transaction
from tests.builders import NOON, SettableClock, a_unit, a_user
from tests.lifecycle.life import a_life, fill, run_jobs

OPERATOR = Operator(0, "root")
KEY = b"k" * 32


async def read(services: Services, project: Project) -> Dossier:
    async with reading(services, OPERATOR) as work:
        return await dossier.read(work, project.public_id)


async def advised(services: Services, project: Project) -> list[str]:
    return [f"{one.what}: {one.do}" for one in advice.advise(await read(services, project))]


async def change(services: Services, project: Project, **fields: Any) -> None:
    async with transaction(services, System()) as work:
        await work.session.execute(
            update(Project).where(Project.columns().id == project.id).values(**fields)
        )


async def a_person(work: Work, project: Project, name: str, **fields: Any) -> User:
    """Add somebody of the project's unit, or a researcher in it, who has a password and holds the key."""
    usual: dict[str, Any] = {"role": Role.UNIT_ADMIN, "public_key": KEY}
    holds, owner = fields.pop("holds", True), fields.pop("owner", False)
    usual |= {"unit_id": None if fields.get("role") is Role.RESEARCHER else project.unit_id}
    user = await a_user(work.session, username=name, email=f"{name}@x.se", **usual | fields)
    if user.role is Role.RESEARCHER:
        work.session.add(Membership(project_id=project.id, user_id=user.id, owner=owner))
    if holds:
        _wrap(work, project, user_id=user.id)
    return user


def _wrap(work: Work, project: Project, **holder: int) -> None:
    work.session.add(KeyWrap(project_id=project.id, blob=b"w", created_at=work.now, **holder))


async def a_case(
    services: Services, status: Status = Status.AVAILABLE, people: Sequence[str] = ("anna", "bo")
) -> Project:
    """Make a project of a unit with these admins, who can open it."""
    async with transaction(services, System()) as work:
        project = await a_life(work, status, await a_unit(work.session))
        for name in people:
            await a_person(work, project, name)
    return project


async def an_invite(work: Work, project: Project, email: str, **fields: Any) -> Invite:
    usual: dict[str, Any] = {
        "uid": email,
        "email": email,
        "role": Role.RESEARCHER,
        "secret_hash": email.encode(),
        "public_key": KEY,
        "sealed_private_key": b"s",
        "created_at": NOON,
        "expires_at": NOON + timedelta(days=3),
    }
    invite = Invite(**usual | fields)
    work.session.add(invite)
    await work.session.flush()
    if invite.unit_id is None:
        work.session.add(Membership(project_id=project.id, invite_id=invite.id))
    return invite


async def a_letter(work: Work, project: Project, state: MailState) -> Mail:
    mail = await outbox.write(
        work,
        "project_archived",
        "unit@x.se",
        title="",
        public_id=project.public_id,
        until="",
    )
    mail.state = state
    return mail


@pytest.mark.parametrize("actor", [Nobody()])
async def test_only_an_operator_reads_it(services: Services, actor: Nobody) -> None:
    project = await a_case(services)
    async with reading(services, actor) as work:
        with pytest.raises(Forbidden):
            await dossier.read(work, project.public_id)


async def test_a_project_that_is_not_there_is_not_found(services: Services) -> None:
    async with reading(services, OPERATOR) as work:
        with pytest.raises(NotFound):
            await dossier.read(work, "unit00001")


async def test_a_healthy_project_asks_for_nothing(services: Services) -> None:
    project = await a_case(services)
    read_now = await read(services, project)
    assert await advised(services, project) == []
    assert (read_now.project.public_id, read_now.releases_left, read_now.over) == (
        project.public_id,
        3,
        False,
    )
    assert [entry.status for entry in read_now.history] == [Status.AVAILABLE]


async def test_everybody_is_told_with_whether_they_can_open_it(services: Services) -> None:
    project = await a_case(services)
    async with transaction(services, System()) as work:
        personnel = {"role": Role.UNIT_PERSONNEL}
        researcher = {"role": Role.RESEARCHER}
        await a_person(work, project, "cleo", **personnel, holds=False)
        await a_person(work, project, "dan", **personnel, holds=False, public_key=None)
        await a_person(work, project, "eva", **personnel, active=False)
        await a_person(work, project, "finn", **researcher, owner=True)
        await a_person(work, project, "gro", **researcher, holds=False)
        waits = await an_invite(work, project, "hal@x.se")
        _wrap(work, project, invite_id=waits.id)
        await an_invite(work, project, "ida@x.se", expires_at=NOON)
        await an_invite(work, project, "jo@x.se", role=Role.UNIT_PERSONNEL, unit_id=project.unit_id)
        work.session.add(
            RecoveryKit(uid="c0ffee" * 5, unit_id=project.unit_id, public_key=KEY, created_at=NOON)
        )
        stranger = await a_user(work.session, username="kim", public_key=KEY)
        _wrap(work, project, user_id=stranger.id)
        await a_user(work.session, username="not-concerned", role=Role.RESEARCHER)
    found = [(one.name, one.capacity, one.access) for one in (await read(services, project)).people]
    assert found == [
        ("anna", Capacity.UNIT_ADMIN, Access.OPENS),
        ("bo", Capacity.UNIT_ADMIN, Access.OPENS),
        ("cleo", Capacity.UNIT_PERSONNEL, Access.LOST),
        ("dan", Capacity.UNIT_PERSONNEL, Access.UNREADY),
        ("eva", Capacity.UNIT_PERSONNEL, Access.CLOSED),
        ("jo@x.se", Capacity.UNIT_PERSONNEL, Access.INVITED_WITHOUT_KEY),
        ("finn", Capacity.OWNER, Access.OPENS),
        ("gro", Capacity.RESEARCHER, Access.LOST),
        ("hal@x.se", Capacity.RESEARCHER, Access.INVITED),
        ("ida@x.se", Capacity.RESEARCHER, Access.INVITE_EXPIRED),
        ("c0ffeec0", Capacity.KIT, Access.LOST),
        ("kim", Capacity.NOT_IN_IT, Access.OPENS),
    ]
    number = project.public_id
    fix = f"dds project access fix {{}} --project {number}"
    assert await advised(services, project) == [
        f"unit personnel cleo cannot open it: anna runs: {fix.format('cleo@x.se')}",
        "dan has no password yet: ddsctl user link dan",
        "unit personnel jo@x.se cannot open it: once they have registered, anna runs: "
        + fix.format("jo@x.se"),
        f"researcher gro cannot open it: anna runs: {fix.format('gro@x.se')}",
        "the invite of ida@x.se has expired: "
        f"invite again: dds user add ida@x.se --project {number}",
        "recovery kit c0ffeec0 cannot open it: anna completes it on the page /recovery-kit",
        f"kim holds the key and is not in the project: ddsctl audit ls --subject {number}",
    ]


async def test_an_admin_who_lost_access_needs_another_admin_or_the_kit(services: Services) -> None:
    project = await a_case(services, people=[])
    async with transaction(services, System()) as work:
        await a_person(work, project, "anna", holds=False)
        await a_person(work, project, "per", role=Role.UNIT_PERSONNEL)
        await a_person(work, project, "rut", role=Role.RESEARCHER)
    (lost,) = [one for one in await advised(services, project) if "anna" in one]
    assert lost.endswith("first somebody of the unit who may give it needs the key again")
    async with transaction(services, System()) as work:
        kit = RecoveryKit(uid="1" * 32, unit_id=project.unit_id, public_key=KEY, created_at=NOON)
        work.session.add(kit)
        await work.session.flush()
        _wrap(work, project, kit_id=kit.id)
    (lost,) = [one for one in await advised(services, project) if "anna" in one]
    assert lost.endswith("enters the kit's words on the page /recovery-kit/restore")


async def test_the_last_who_can_open_it_is_named_and_then_that_nobody_can(
    services: Services,
) -> None:
    project = await a_case(services, people=["anna"])
    assert await advised(services, project) == [
        "only anna can open it: a unit admin makes a recovery kit on the page /recovery-kit"
    ]
    async with transaction(services, System()) as work:
        await work.session.execute(KeyWrap.__table__.delete())  # type: ignore[attr-defined]
    assert await advised(services, project) == [
        "nobody can open it: deliver the data again, in a new project"
    ]


async def test_of_a_project_that_is_over_no_access_is_asked_for(services: Services) -> None:
    project = await a_case(services, Status.ARCHIVED)
    read_now = await read(services, project)
    assert {one.access for one in read_now.people} == {Access.OVER}
    assert (read_now.over, read_now.releases_left, read_now.extensions_left) == (True, 0, 0)
    assert await advised(services, project) == []


async def test_what_each_has_downloaded_is_told(services: Services) -> None:
    project = await a_case(services)
    await fill(services, project.id, files=3)
    async with transaction(services, System()) as work:
        rut = await a_person(work, project, "rut", role=Role.RESEARCHER)
        files = (await work.session.scalars(select(StoredFile.columns().id))).all()
        for hours, file in enumerate(files[:2]):
            work.session.add(
                Download(
                    file_id=file,
                    user_id=rut.id,
                    project_id=project.id,
                    at=NOON + timedelta(hours=hours),
                )
            )
    by_name = {one.name: one.fetched for one in (await read(services, project)).people}
    told = by_name["rut"]
    assert (told.files, told.size_bytes, told.last_at) == (2, 20, NOON + timedelta(hours=1))
    assert (by_name["anna"].files, by_name["anna"].last_at) == (0, None)


@pytest.mark.parametrize("verb", [Verb.ARCHIVE, Verb.ABORT])
async def test_who_had_what_and_which_letters_went_out_is_told_when_all_is_over(
    services: Services, clock: SettableClock, verb: Verb
) -> None:
    project = await a_case(services, Status.AVAILABLE, people=["anna"])
    await fill(services, project.id, files=3)
    async with transaction(services, System()) as work:
        rut = await a_person(work, project, "rut", role=Role.RESEARCHER)
        for file in (await work.session.scalars(select(StoredFile.columns().id))).all()[1:]:
            work.session.add(Download(file_id=file, user_id=rut.id, project_id=project.id, at=NOON))
        sent = await a_letter(work, project, MailState.SENT)
        await a_letter(work, project, MailState.FAILED)
    async with transaction(services, System()) as work:
        await verbs.do(work, await endings.locked(work, project.public_id), verb)
    for _ in range(2):  # while its files go, and when they are gone
        told = await read(services, project)
        [one] = [person.fetched for person in told.people if person.name == "rut"]
        assert (one.files, one.size_bytes, one.last_at) == (2, 20, NOON)
        assert [letter.state for letter in told.letters] == [MailState.FAILED, MailState.SENT]
        await run_jobs(services)
    assert told.over
    assert await advised(services, project) == []
    async with reading(services, OPERATOR) as work:
        view = await outbox.show(work, sent.id)
    assert (view.text == "") == (verb is Verb.ABORT)
    assert ("was aborted or deleted" in view.withheld) == (verb is Verb.ABORT)

    clock.advance(days=367)
    await housekeeping.forget_old_logins(services, "all")
    async with transaction(services, System()) as work:
        await outbox.forget_old(work)
    told = await read(services, project)
    assert [person.fetched.files for person in told.people if person.name == "rut"] in ([], [0])
    assert told.letters == []


async def test_a_failed_letter_is_sent_again_by_its_number(services: Services) -> None:
    project = await a_case(services, Status.EXPIRED)
    async with transaction(services, System()) as work:
        other = await a_life(work, Status.AVAILABLE)
        await a_letter(work, other, MailState.FAILED)
        await a_letter(work, project, MailState.SENT)
        failed = await a_letter(work, project, MailState.FAILED)
        _job(work, "send_mail", str(failed.id), JobState.FAILED)
        await work.session.flush()
    assert len((await read(services, project)).letters) == 2
    assert await advised(services, project) == [
        f"letter {failed.id} (project_archived) to unit@x.se failed: ddsctl mail resend {failed.id}",
        "its data is not removed while letters about it (1) are not delivered: see the letters; "
        f"or end it by hand: ddsctl project archive {project.public_id}",
    ]


def _job(work: Work, kind: str, subject: str, state: JobState) -> Job:
    job = Job(kind=kind, subject=subject, state=state, run_after=NOON, created_at=NOON)
    work.session.add(job)
    return job


async def test_of_a_jobs_tries_only_the_newest_counts(services: Services) -> None:
    project = await a_case(services)
    async with transaction(services, System()) as work:
        for state in (JobState.FAILED, JobState.DONE):
            _job(work, "empty_project", project.public_id, state)
            await work.session.flush()
    assert await advised(services, project) == []
    async with transaction(services, System()) as work:
        job = _job(work, "empty_project", project.public_id, JobState.FAILED)
    assert await advised(services, project) == [
        f"job {job.id} (empty_project) failed: ddsctl jobs retry {job.id}"
    ]


async def test_an_end_that_nothing_works_on_is_told(services: Services) -> None:
    project = await a_case(services)
    await change(services, project, ending=Verb.ARCHIVE)
    assert await advised(services, project) == [
        "archive was begun, and no job works on it: ddsctl lifecycle run"
    ]
    async with transaction(services, System()) as work:
        _job(work, "end_project", project.public_id, JobState.QUEUED)
    assert await advised(services, project) == []


async def test_what_can_be_restored_is_told_until_when(services: Services) -> None:
    project = await a_case(services, Status.ARCHIVED)
    await change(services, project, purge_after=NOON + timedelta(days=7))
    assert await advised(services, project) == [
        "archived by its deadline; data is kept until 2026-03-09 12:00 UTC: ddsctl project restore "
        f"{project.public_id}, or a unit admin on the page /projects"
    ]


async def test_a_deadline_findings_and_a_full_unit_are_told(services: Services) -> None:
    project = await a_case(services)
    await change(services, project, deadline=NOON, bytes_stored=90)
    async with transaction(services, System()) as work:
        unit = await work.session.get_one(Unit, project.unit_id)
        unit.quota_bytes = 100
        work.session.add(
            Finding(
                kind=FindingKind.WRONG_SIZE,
                project_id=project.id,
                bucket=project.bucket,
                key="k",
                found_at=NOON,
                seen_at=NOON,
            )
        )
    assert await advised(services, project) == [
        "its deadline has passed, and the night has not acted yet: ddsctl lifecycle due",
        f"store and database disagree in 1 thing: ddsctl files lost ls --project {project.public_id}",
        f"unit {unit.public_id} is over the warning level of its quota: "
        f"ddsctl unit quota {unit.public_id} --help",
    ]
