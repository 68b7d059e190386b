"""Who may do what to a project in which status: every status, verb and role in one matrix, on real rows."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ddsd.access import Actor, Nobody, Operator, Role, System
from ddsd.errors import DdsError
from ddsd.jobs.tables import Job, JobState
from ddsd.lifecycle import verbs
from ddsd.projects.status import Status, Verb
from ddsd.units.tables import Unit
from ddsd.users.tables import User
from ddsd.work import Services, Work, transaction
from tests.builders import a_unit, a_user
from tests.lifecycle.life import a_life, member

P, V, E, A, D = (
    Status.IN_PROGRESS,
    Status.AVAILABLE,
    Status.EXPIRED,
    Status.ARCHIVED,
    Status.DELETED,
)
WHO = ("super admin", "unit admin", "unit personnel", "researcher", "operator", "daemon", "nobody")

# Wire contract, sections 3 and 6. A letter is allowed, and to whom in the order of WHO; "-" is Forbidden.
CHANGERS = "-yy-yy-"
RESTORERS = "-y--yy-"
PURGERS = "----yy-"
MAY: Mapping[Verb, str] = {
    Verb.RELEASE: CHANGERS,
    Verb.RETRACT: CHANGERS,
    Verb.EXTEND: CHANGERS,
    Verb.EXPIRE: CHANGERS,
    Verb.ARCHIVE: CHANGERS,
    Verb.ABORT: CHANGERS,
    Verb.DELETE: CHANGERS,
    Verb.HIDE: PURGERS,
    Verb.RESTORE: RESTORERS,
    Verb.PURGE: PURGERS,
}
# What comes of it for those who may: the new status at once, "soon" and then a status, or why not.
CANNOT = "You cannot {verb} a project that has the current status '{status}'."
NO_MORE = "Cannot change status for a project that has the status '{status}'."
GONE = "Cannot {verb} the project: its data has been removed, or is being removed."
ONLY_AVAILABLE = "You can only extend the deadline for a project that has the status 'Available'."
COMES: Mapping[Verb, tuple[str, str, str, str, str]] = {
    # In Progress, Available, Expired, Archived, Deleted
    Verb.RELEASE: (V, CANNOT, V, NO_MORE, NO_MORE),
    Verb.RETRACT: (CANNOT, P, CANNOT, NO_MORE, NO_MORE),
    Verb.EXTEND: (ONLY_AVAILABLE, V, ONLY_AVAILABLE, ONLY_AVAILABLE, ONLY_AVAILABLE),
    Verb.EXPIRE: (CANNOT, E, CANNOT, NO_MORE, NO_MORE),
    Verb.ARCHIVE: ("soon", "soon", "soon", NO_MORE, NO_MORE),
    Verb.ABORT: ("soon", "soon", "soon", NO_MORE, NO_MORE),
    Verb.DELETE: ("soon", CANNOT, CANNOT, NO_MORE, NO_MORE),
    Verb.HIDE: (CANNOT, CANNOT, A, NO_MORE, NO_MORE),
    Verb.RESTORE: (CANNOT, CANNOT, CANNOT, GONE, NO_MORE),
    Verb.PURGE: (CANNOT, CANNOT, CANNOT, GONE, NO_MORE),
}


@pytest.mark.parametrize("verb", Verb)
async def test_every_status_and_role(services: Services, verb: Verb) -> None:
    async with transaction(services, System()) as work:
        unit, user = await a_unit(work.session), await a_user(work.session)
    found, expected = {}, {}
    for status, comes in zip(Status, COMES[verb], strict=True):
        for who, may in zip(WHO, MAY[verb], strict=True):
            found[status, who] = await _try(services, _actor(who, user, unit), unit, status, verb)
            allowed = comes.format(verb=verb, status=status)
            expected[status, who] = allowed if may == "y" else "Insufficient credentials"
    assert found == expected


async def _try(services: Services, actor: Actor, unit: Unit, status: Status, verb: Verb) -> str:
    """Do it and take it back; say what came of it."""
    try:
        async with transaction(services, System()) as work:
            project = await a_life(work, status, await work.session.get_one(Unit, unit.id))
            acting = Work(work.session, work.now, actor, services)
            await verbs.do(acting, project, verb, days=1, send_email=False)
            came = "soon" if project.ending else project.status.value
            raise _TakenBack(came)
    except _TakenBack as taken:
        return str(taken)
    except DdsError as no:
        return no.message


class _TakenBack(Exception):
    pass


def _actor(who: str, user: User, unit: Unit) -> Actor:
    match who:
        case "operator":
            return Operator(0, "root")
        case "daemon":
            return System()
        case "nobody":
            return Nobody()
        case _:
            role = Role(who.title())
            unit_id = unit.id if role in {Role.UNIT_ADMIN, Role.UNIT_PERSONNEL} else None
            return member(user, role, unit_id)


@pytest.mark.parametrize("verb", Verb)
async def test_nothing_is_done_to_a_project_that_is_ending(services: Services, verb: Verb) -> None:
    async with transaction(services, System()) as work:
        for status in Status:
            project = await a_life(work, status, ending=Verb.ARCHIVE)
            with pytest.raises(DdsError) as refused:
                await verbs.do(work, project, verb, days=1)
            assert refused.value.code == "busy"
            what = "deadline" if verb is Verb.EXTEND else "status"
            assert refused.value.message.startswith(
                f"The {what} for the project '{project.public_id}' is already in the process of being changed. "
                "Please try again later. \n\nIf you know "
            )


async def test_nor_to_one_that_is_being_emptied(services: Services) -> None:
    async with transaction(services, System()) as work:
        project = await a_life(work, P)
        work.session.add(
            Job(
                kind="empty_project",
                subject=project.public_id,
                state=JobState.QUEUED,
                run_after=work.now,
                created_at=work.now,
            )
        )
        await work.session.flush()
        with pytest.raises(DdsError) as refused:
            await verbs.do(work, project, Verb.RELEASE)
        assert refused.value.code == "busy"
