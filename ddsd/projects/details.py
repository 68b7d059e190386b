"""Changing what describes a project (wire contract, section 4): title, description, principal investigator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ddsd.access import Action, require_member
from ddsd.audit import trail
from ddsd.errors import InvalidInput, WrongStatus
from ddsd.projects import fields, projects
from ddsd.projects.status import FINAL
from ddsd.projects.tables import Project
from ddsd.work import Work

_CHECKS: Final[Mapping[str, Callable[[str], list[str]]]] = {
    "title": fields.check_title,
    "description": fields.check_description,
    "pi": fields.check_pi,
}


async def describe_anew(work: Work, project: Project, wanted: Mapping[str, object]) -> None:
    """Give the project another title, description or principal investigator.

    Args:
        work: the transaction, in which ``project`` is locked.
        project: the project.
        wanted: the new values of some of ``title``, ``description``, ``pi``; empty ones and others do not matter.

    Raises:
        Forbidden: the caller may not.
        WrongStatus: the project is over, or about to be.
        InvalidInput: a value cannot be used.
    """
    require_member(work.actor, Action.DESCRIBE_PROJECT)
    if project.status in FINAL or project.ending is not None:
        raise WrongStatus("The description of a project that is over cannot be changed.")
    changes = {field: _checked(field, wanted[field]) for field in _CHECKS if wanted.get(field)}
    for field, value in changes.items():
        setattr(project, field, value)
    projects.touch(work, project)
    trail.record(work, "project.describe", project.public_id, fields=" ".join(changes))


def _checked(field: str, value: object) -> str:
    """Return a value that can be used; the refusals' spelling is the stock system's."""
    if not isinstance(value, str):
        raise InvalidInput("['Not a valid string.']")
    wrong = _CHECKS[field](value)
    if wrong:
        raise InvalidInput("The PI email is invalid" if field == "pi" else str(wrong))
    return value
