"""Messages of the day: what everybody is shown at every command, until it is deactivated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.db.types import may_be_id
from ddsd.errors import InvalidInput, NotFound, WrongStatus
from ddsd.notices.tables import Motd
from ddsd.work import Work

LONGEST: Final = 5000


async def active(work: Work) -> Sequence[Motd]:
    """Return the messages that are shown now, newest first."""
    table = Motd.columns()
    found = await work.session.execute(select(Motd).where(table.active).order_by(table.id.desc()))
    return found.scalars().all()


async def listing(work: Work) -> Sequence[Motd]:
    """Return every message there ever was, newest first.

    Raises:
        Forbidden: the caller may not.
    """
    require(work.actor, Action.INFORM_ALL)
    found = await work.session.execute(select(Motd).order_by(Motd.columns().id.desc()))
    return found.scalars().all()


async def add(work: Work, message: object) -> Motd:
    """Show a message from now on (wire contract, section 4).

    Args:
        work: the transaction.
        message: text of 1 to :data:`LONGEST` characters; lines may be broken, nothing else may steer a terminal.

    Raises:
        Forbidden: the caller may not.
        InvalidInput: it is no such text.
    """
    require(work.actor, Action.INFORM_ALL)
    made = Motd(message=_checked(message), created_at=work.now, active=True)
    work.session.add(made)
    await work.session.flush()
    trail.record(work, "motd.add", str(made.id), message=made.message)
    return made


async def deactivate(work: Work, motd_id: object) -> Motd:
    """Show a message no more; letters with it that have not left yet are withdrawn when they would.

    Raises:
        Forbidden: the caller may not.
        InvalidInput: no number was given.
        NotFound: there is no such message.
        WrongStatus: it is not shown.
    """
    require(work.actor, Action.INFORM_ALL)
    if not motd_id:
        raise InvalidInput("No MOTD for deactivation specified.")
    found = await find(work, motd_id, for_change=True)
    if found is None:
        raise NotFound(f"MOTD with id {motd_id} does not exist in the database")
    if not found.active:
        raise WrongStatus(f"MOTD with id {motd_id} is not active.")
    found.active = False
    trail.record(work, "motd.deactivate", str(found.id))
    return found


async def find(work: Work, motd_id: object, *, for_change: bool = False) -> Motd | None:
    """Return the message of a number, if it is one; ``for_change``: locked until the transaction ends."""
    if not isinstance(motd_id, int) or isinstance(motd_id, bool):
        return None
    if not may_be_id(motd_id):
        return None
    return await work.session.get(
        Motd, motd_id, with_for_update=for_change or None, populate_existing=for_change
    )


def _checked(message: object) -> str:
    if not message:
        raise InvalidInput("No MOTD specified.")
    if not isinstance(message, str) or not message.strip():
        raise InvalidInput("The MOTD must be text.")
    if len(message) > LONGEST:
        raise InvalidInput(f"The MOTD may have at most {LONGEST} characters, not {len(message)}.")
    if not all(one.isprintable() or one in "\n\t" for one in message):
        raise InvalidInput("The MOTD may not hold control characters.")
    return message
