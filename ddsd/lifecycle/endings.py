"""Archive, abort, delete: asked for in a moment, done by a job, and over in one last transaction.

Invariant: from the moment an end is asked for until it is over, ``Project.ending`` says which; nothing else is done to
the project meanwhile, and whatever dies in between is finished by the next run of the job. What must be done once (the
status, the forgetting, the audit) is that last transaction.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, select

from ddsd.access import Action, System, require
from ddsd.audit import trail
from ddsd.errors import NotFound
from ddsd.files import downloads, grants, removal
from ddsd.jobs import progress, queue
from ddsd.keys import service as keys
from ddsd.lifecycle import transitions
from ddsd.mail import outbox
from ddsd.projects import projects, status
from ddsd.projects.status import Effect, Verb
from ddsd.projects.tables import Membership, Project
from ddsd.work import Services, Work, reading, transaction

END_PROJECT: Final = "end_project"


async def archive(work: Work, project: Project, *, aborted: bool = False) -> None:
    """Begin to remove the project's data; what describes it stays, unless it is ``aborted``.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        aborted: forget title, description, principal investigator and researchers, too.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        WrongStatus: it is over, or was released and is In Progress again and not aborted.
    """
    require(work.actor, Action.CHANGE_STATUS)
    await begin(work, project, Verb.ABORT if aborted else Verb.ARCHIVE)


async def remove(work: Work, project: Project) -> None:
    """Begin to delete the project: its data, and what describes it.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        WrongStatus: it is not In Progress, or was released before.
    """
    require(work.actor, Action.CHANGE_STATUS)
    await begin(work, project, Verb.DELETE)


async def purge(work: Work, project: Project) -> None:
    """Begin to remove the data of a project that its deadline has archived; it cannot be restored any more.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to it.
        WrongStatus: it does not wait for this.
    """
    require(work.actor, Action.PURGE_PROJECT)
    await begin(work, project, Verb.PURGE)


async def begin(work: Work, project: Project, verb: Verb) -> None:
    """Note which end is coming, and enqueue it. Who may is checked by the caller.

    Raises:
        Busy: something slow is being done to the project.
        WrongStatus: it may not end so.
    """
    await transitions.decide(work, project, verb)
    project.ending = verb
    projects.touch(work, project)
    await grants.withdraw_uploads(work, project)
    await downloads.keep_sums(work, project)
    await queue.enqueue(work, END_PROJECT, project.public_id)
    trail.record(work, f"project.{verb}", project.public_id, files=project.file_count)


async def end_project(services: Services, public_id: str) -> None:
    """Handle the job :data:`END_PROJECT`: remove objects, rows and bucket, then let the project be over.

    Raises:
        StoreUnavailable, StoreRefused: the store is away, or keeps something. What is removed stays removed.
    """
    project = await _ending(services, public_id)
    if project is None:
        return
    told = await progress.reported(services, END_PROJECT, public_id)
    done, total = told.done, max(told.total, told.done + project.file_count)
    await progress.report(services, END_PROJECT, public_id, done=done, total=total)
    while removed := await removal.remove_next(services, project.id):
        done += removed
        await progress.report(services, END_PROJECT, public_id, done=done, total=max(total, done))
    await removal.remove_bucket(services, project.id)
    async with transaction(services, System()) as work:
        await finish(work, public_id)


async def finish(work: Work, public_id: str) -> None:
    """Let the project be over, now that its data is gone; nothing if it is over already.

    Raises:
        NotFound: there is no such project.
    """
    project = await locked(work, public_id)
    if project.ending is None:
        return
    verb, rule = project.ending, status.find_rule(project.status, project.ending)
    if project.status is not rule.to:
        project.status, project.deadline = rule.to, None
        transitions.write_entry(work, project, rule.to, None)
    project.ending = project.purge_after = None
    project.active = False
    project.updated_at = work.now
    await grants.withdraw_uploads(work, project)
    await keys.forget_project(work, project.id)
    forgets = Effect.FORGETS_DESCRIPTION in rule.effects
    await outbox.nothing_waits_for(work, public_id, forget_text=forgets)
    if forgets:
        await _forget_description(work, project)
    trail.record(work, "project.end", public_id, how=verb.value)


async def locked(work: Work, public_id: str) -> Project:
    """Return a project, whoever's it is, locked until the transaction ends.

    Raises:
        NotFound: there is no such project.
    """
    query = select(Project).where(Project.columns().public_id == public_id).with_for_update()
    project = (await work.session.execute(query)).scalar_one_or_none()
    if project is None:
        raise NotFound(f"There is no project '{public_id}'. See: ddsctl project ls")
    return project


async def _ending(services: Services, public_id: str) -> Project | None:
    table = Project.columns()
    async with reading(services, System()) as work:
        found = await work.session.execute(
            select(Project).where(table.public_id == public_id, table.ending.is_not(None))
        )
        return found.scalar_one_or_none()


async def _forget_description(work: Work, project: Project) -> None:
    project.title = project.description = project.pi = project.public_key = None
    await work.session.execute(
        delete(Membership).where(Membership.columns().project_id == project.id)
    )
