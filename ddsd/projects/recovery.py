"""A unit's recovery kit: a key pair whose private half exists on paper alone, and opens every project of the unit.

Invariant: the words are returned once, by :func:`make` and :func:`rotate`, and neither stored nor logged; what is kept
is the public half. A unit has one kit that counts, or none. All of it is the unit admins' business: nobody else, no
operator either, can make, use or end one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from ddsd.access import NOT_THIS_ROLE, Action, Member, Role, require_member
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, Busy, Forbidden, InvalidFields, NotFound
from ddsd.keys import kits
from ddsd.keys import service as keys
from ddsd.keys.service import Holder, Shared
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.keys.unlocked import OpenedKit, Unlocked
from ddsd.mail import outbox
from ddsd.projects.projects import people_of
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.units.tables import Unit
from ddsd.users import limits
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, Work

_MADE: Final = "A recovery kit was made"
_ROTATED: Final = "The recovery kit was replaced by a new one"
_REVOKED: Final = "The recovery kit was revoked"
_USED: Final = "The recovery kit was used"
_MORE: Final = "The recovery kit opens more projects"
_KEEP: Final = (
    "Ask them where the paper is kept. It opens every project of the unit: "
    "keep it as you keep the key of a safe."
)
_BURN: Final = "The paper of the old kit opens nothing any more. Destroy it."
_NONE_LEFT: Final = (
    "Its paper opens nothing any more: destroy it. If every admin loses their password now, nobody can restore "
    "access to the unit's data. Make a new kit."
)
_WATCH: Final = (
    "If you do not know of this, deactivate that account and revoke the kit. In any case make a new kit, since the "
    "words of this one have been typed."
)


@dataclass(frozen=True)
class KitView:
    """What a unit's admins see of their kit. ``lacking``: the public ids of active projects it does not open."""

    uid: str
    made_by: str
    made_at: datetime
    covered: int
    lacking: Sequence[str]


@dataclass(frozen=True)
class NewKit:
    """A kit just made. ``words`` are to be shown once; ``view`` says what it opens and what not."""

    words: SecretText
    unit: str
    view: KitView


@dataclass(frozen=True)
class Restored:
    """What a kit gave back: how many wraps, to how many people; ``lacking``: projects that the kit does not open."""

    wraps: int
    people: int
    lacking: Sequence[str]


async def look(work: Work) -> KitView | None:
    """Return the kit of the caller's unit; ``None`` if it has none.

    Raises:
        Forbidden: the caller is no unit admin.
    """
    member = _admin(work)
    kit = await _active(work, _unit_id(member))
    return None if kit is None else await _view(work, kit)


async def make(work: Work, unlocked: Unlocked) -> NewKit:
    """Make the first kit of the caller's unit. It opens the projects that the caller opens, and all new ones.

    Raises:
        Forbidden: the caller is no unit admin.
        AlreadyExists: the unit has one: see :func:`rotate`.
        SealBroken: a wrap of the caller's was tampered with.
    """
    unit = await _unit(work)
    if await _active(work, unit.id) is not None:
        raise AlreadyExists("Your unit has a recovery kit already. Replace it, or revoke it first.")
    made = await _new(work, unlocked, unit)
    trail.record(work, "unit.make_kit", unit.public_id, kit=made.view.uid, opens=made.view.covered)
    await _tell(work, unit, _MADE, _KEEP)
    return made


async def rotate(
    work: Work, unlocked: Unlocked, *, replaces: str | None = None, confirmed: bool = False
) -> NewKit:
    """Put a new kit in the place of the unit's; the old paper opens nothing from now on.

    Args:
        work: the transaction.
        unlocked: the caller's opened key.
        replaces: the uid of the kit that the caller means, so that a form sent twice does not replace twice.
        confirmed: lose the projects that only the old kit opens.

    Raises:
        Forbidden: the caller is no unit admin, or only the old kit opens some projects.
        NotFound: there is none: see :func:`make`.
        Busy: it was replaced meanwhile.
        SealBroken: a wrap of the caller's was tampered with.
    """
    unit = await _unit(work)
    old = await _require_active(work, unit.id)
    if replaces not in {None, old.uid}:
        raise Busy("The recovery kit was replaced a moment ago. Look at it before you replace it.")
    old.revoked_at = work.now
    await work.session.flush()
    made = await _new(work, unlocked, unit)
    await _end(work, old, confirmed=confirmed)
    trail.record(
        work,
        "unit.rotate_kit",
        unit.public_id,
        old=old.uid,
        kit=made.view.uid,
        opens=made.view.covered,
    )
    await _tell(work, unit, _ROTATED, f"{_BURN} {_KEEP}")
    return made


async def revoke(work: Work, *, confirmed: bool = False) -> None:
    """End the unit's kit: its paper opens nothing from now on.

    Args:
        work: the transaction.
        confirmed: lose the projects that only the kit opens.

    Raises:
        Forbidden: the caller is no unit admin, or only the kit opens some projects.
        NotFound: there is none.
    """
    unit = await _unit(work)
    kit = await _require_active(work, unit.id)
    await _end(work, kit, confirmed=confirmed)
    kit.revoked_at = work.now
    trail.record(work, "unit.revoke_kit", unit.public_id, kit=kit.uid)
    await _tell(work, unit, _REVOKED, _NONE_LEFT)


async def complete(work: Work, unlocked: Unlocked) -> KitView:
    """Let the unit's kit open the projects it does not open yet, as far as the caller opens them.

    Raises:
        Forbidden: the caller is no unit admin.
        NotFound: there is no kit.
        SealBroken: a wrap of the caller's was tampered with.
    """
    unit = await _unit(work)
    kit = await _require_active(work, unit.id)
    shared = await _cover(work, unlocked, kit)
    trail.record(work, "unit.complete_kit", unit.public_id, kit=kit.uid, wraps=shared.wraps)
    if shared.wraps:
        await _tell(work, unit, _MORE, _KEEP)
    return await _view(work, kit)


async def spend_try(services: Services, member: Member) -> None:
    """Count one try at the words of a kit.

    Raises:
        TooManyRequests: too many by this person.
    """
    await limits.spend(
        services,
        limits.Budget(
            ("kit", member.uid),
            services.settings.security.logins_per_hour,
            timedelta(hours=1),
            "Too many words were tried. Please check the paper, and try again later.",
        ),
    )


async def restore(work: Work, words: SecretText, *, everyone: bool = False) -> Restored:
    """Give back, with the kit's words, what its projects' holders have lost.

    Args:
        work: the transaction.
        words: as typed from the paper. They are in memory for this call and nowhere else.
        everyone: all people of the unit, not the caller alone.

    Raises:
        Forbidden: the caller is no unit admin.
        InvalidFields: these are no kit's words, or another kit's.
        NotFound: the unit has no kit.
        SealBroken: a wrap was tampered with.
    """
    unit = await _unit(work)
    kit = await _require_active(work, unit.id)
    opened = _open(words, kit)
    people = await people_of(work, unit.id)
    if not everyone:
        people = [one for one in people if one.user_id == _admin(work).user_id]
    shared = await keys.share_from_kit(work, opened, kit.id, await _projects(work, unit.id), people)
    trail.record(
        work, "unit.use_kit", unit.public_id, kit=kit.uid, everyone=everyone, wraps=shared.wraps
    )
    await _tell(work, unit, _USED, _WATCH)
    return Restored(shared.wraps, len(people), shared.lacking)


def _open(words: SecretText, kit: RecoveryKit) -> OpenedKit:
    opened = kits.open_kit(words)
    if opened.public != kit.public_key:
        raise InvalidFields(
            {"words": ["These are the words of another kit, or of one that was replaced."]}
        )
    return opened


async def _new(work: Work, unlocked: Unlocked, unit: Unit) -> NewKit:
    words = kits.new_words()
    kit = RecoveryKit(
        uid=uuid.uuid4().hex,
        unit_id=unit.id,
        public_key=kits.open_kit(words).public,
        made_by=_admin(work).user_id,
        created_at=work.now,
    )
    work.session.add(kit)
    await work.session.flush()
    await _cover(work, unlocked, kit)
    return NewKit(words, unit.external_display_name, await _view(work, kit))


async def _cover(work: Work, unlocked: Unlocked, kit: RecoveryKit) -> Shared:
    paper = Holder(public=kit.public_key, kit_id=kit.id)
    projects = await _projects(work, kit.unit_id)
    return await keys.share_many(work, unlocked, _admin(work).user_id, projects, [paper])


async def _end(work: Work, kit: RecoveryKit, *, confirmed: bool) -> None:
    held = await keys.held_projects(work, kit_id=kit.id)
    await keys.require_another_holder(work, held, leaving_kit_id=kit.id, confirmed=confirmed)
    await keys.forget_holder(work, kit_id=kit.id)


async def _view(work: Work, kit: RecoveryKit) -> KitView:
    projects, wraps = Project.columns(), KeyWrap.columns()
    found = await work.session.execute(
        select(projects.public_id, wraps.id)
        .outerjoin(KeyWrap, (wraps.project_id == projects.id) & (wraps.kit_id == kit.id))
        .where(projects.unit_id == kit.unit_id, projects.active.is_(True))
        .order_by(projects.id)
    )
    rows = list(found)
    maker = await work.session.get(User, kit.made_by) if kit.made_by is not None else None
    lacking = [str(public_id) for public_id, wrap in rows if wrap is None]
    return KitView(
        uid=kit.uid,
        made_by=maker.name if maker else "Former User",
        made_at=kit.created_at,
        covered=len(rows) - len(lacking),
        lacking=lacking,
    )


async def _projects(work: Work, unit_id: int) -> Sequence[Project]:
    table = Project.columns()
    found = await work.session.execute(
        select(Project).where(table.unit_id == unit_id, table.active.is_(True)).order_by(table.id)
    )
    return found.scalars().all()


async def _active(work: Work, unit_id: int) -> RecoveryKit | None:
    table = RecoveryKit.columns()
    found = await work.session.execute(
        select(RecoveryKit).where(table.unit_id == unit_id, table.revoked_at.is_(None))
    )
    return found.scalar_one_or_none()


async def _require_active(work: Work, unit_id: int) -> RecoveryKit:
    kit = await _active(work, unit_id)
    if kit is None:
        raise NotFound("Your unit has no recovery kit.")
    return kit


def _admin(work: Work) -> Member:
    return require_member(work.actor, Action.KEEP_RECOVERY_KIT)


def _unit_id(member: Member) -> int:
    if member.unit_id is None:
        raise Forbidden(NOT_THIS_ROLE)
    return member.unit_id


async def _unit(work: Work) -> Unit:
    """Return the caller's unit, locked as a new project locks it: no project is made meanwhile without the kit."""
    number = _unit_id(_admin(work))
    return await work.session.get_one(Unit, number, with_for_update={"key_share": True})


async def _tell(work: Work, unit: Unit, happened: str, advice: str) -> None:
    users, emails = User.columns(), UserEmail.columns()
    found = await work.session.execute(
        select(emails.email)
        .join(User, users.id == emails.user_id)
        .where(
            users.unit_id == unit.id,
            users.role == Role.UNIT_ADMIN,
            users.active.is_(True),
            emails.is_primary,
        )
        .order_by(emails.id)
    )
    for (address,) in found.all():
        await outbox.write(
            work,
            "recovery_kit",
            address,
            happened=happened,
            unit=unit.external_display_name,
            person=_admin(work).name,
            advice=advice,
        )
