"""The letter that tells somebody of data they can download now."""

from __future__ import annotations

from collections.abc import Iterable

from ddsd.mail import outbox
from ddsd.projects.tables import Project
from ddsd.units.tables import Unit
from ddsd.work import Work


async def announce(
    work: Work, project: Project, unit: Unit, addresses: Iterable[str], *, sender: str
) -> None:
    """Write to each address that the project is available, and how to get it.

    Args:
        work: the transaction.
        project: the project, which is Available.
        unit: whose it is, for the contact.
        addresses: where to.
        sender: who makes it available, as the subject names them.
    """
    deadline = f"{project.deadline:%Y-%m-%d %H:%M:%S} UTC" if project.deadline else ""
    for address in addresses:
        await outbox.write(
            work,
            "project_released",
            address,
            title=project.title or "",
            public_id=project.public_id,
            unit=sender,
            unit_contact=unit.contact_email,
            deadline=deadline,
        )
