"""Every verb of a project's life by its name, for those who are told the name."""

from __future__ import annotations

from typing import assert_never

from ddsd.lifecycle import endings, transitions, undo
from ddsd.projects.status import Verb
from ddsd.projects.tables import Project
from ddsd.work import Work


async def do(
    work: Work, project: Project, verb: Verb, *, days: object = None, send_email: bool = True
) -> bool:
    """Do ``verb`` to the project. Return whether researchers were written to.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        verb: what to do.
        days: how long the new status lasts, or how much longer; ``None``: the unit's own. Not used by every verb.
        send_email: whether a release is told to the researchers.

    Raises:
        Forbidden: the caller may not.
        Busy: something slow is being done to the project.
        WrongStatus, InvalidInput, Conflict: see :data:`ddsd.projects.status.RULES`.
    """
    match verb:
        case Verb.RELEASE:
            return await transitions.release(work, project, days=days, send_email=send_email)
        case Verb.RETRACT:
            await transitions.retract(work, project)
        case Verb.EXTEND:
            await transitions.extend(work, project, days=days)
        case Verb.EXPIRE:
            await transitions.expire(work, project, days=days)
        case Verb.ARCHIVE | Verb.ABORT:
            await endings.archive(work, project, aborted=verb is Verb.ABORT)
        case Verb.DELETE:
            await endings.remove(work, project)
        case Verb.HIDE:
            await undo.hide(work, project)
        case Verb.RESTORE:
            await undo.restore(work, project)
        case Verb.PURGE:
            await endings.purge(work, project)
        case _:
            assert_never(verb)
    return False
