"""Making, changing and listing units.

Invariant: every name a unit's projects and buckets will ever get from it is one that an object store accepts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError

from ddsd.access import Action, require
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, InvalidFields, NotFound
from ddsd.units.tables import Unit
from ddsd.work import Work

MAX_PUBLIC_ID: Final = 50
MAX_TEXT: Final = 255
MAX_DAYS_AVAILABLE: Final = 90
MAX_DAYS_EXPIRED: Final = 30
MAX_QUOTA_BYTES: Final = 2**63 - 1
MAX_BUCKET: Final = 63
# Wire contract, section 4: "{internal_ref}{counter:05d}-{18 digits of time}-{8 hex digits}".
BUCKET_TAIL: Final = 5 + 1 + 18 + 1 + 8
MAX_INTERNAL_REF: Final = MAX_BUCKET - BUCKET_TAIL
_END_OF_BUCKETS: Final = f"{'?' * 5}-{'?' * 18}-{'?' * 8}"
ANY_BUCKET: Final = f"*{_END_OF_BUCKETS}"
"""The names of all units' buckets, as :func:`bucket_pattern`."""

_NAME = re.compile(r"[A-Za-z0-9.-]+")
_MAX_DOTS = 2


@dataclass(frozen=True)
class UnitRow:
    """A unit as operators list it. What it holds is told by :mod:`ddsd.projects.overview`."""

    public_id: str
    name: str
    external_display_name: str
    contact_email: str
    internal_ref: str
    days_in_available: int
    days_in_expired: int
    quota_bytes: int
    warning_level: float
    quota_enforced: bool
    undo_days: int
    created_at: datetime


@dataclass(frozen=True)
class Wanted:
    """What is to become of a unit; ``None`` leaves it as it is. The limits are those of :func:`create`."""

    name: str | None = None
    external_display_name: str | None = None
    contact_email: str | None = None
    days_in_available: int | None = None
    days_in_expired: int | None = None
    quota_bytes: int | None = None
    warning_level: float | None = None
    quota_enforced: bool | None = None


@dataclass(frozen=True)
class Change:
    """What a field of a unit was, and what it is now or would be."""

    field: str
    before: str | float
    after: str | float


async def create(
    work: Work,
    *,
    public_id: str,
    name: str,
    external_display_name: str,
    contact_email: str,
    internal_ref: str | None = None,
    days_in_available: int = MAX_DAYS_AVAILABLE,
    days_in_expired: int = MAX_DAYS_EXPIRED,
    quota_bytes: int = 0,
    warning_level: float = 0.8,
    quota_enforced: bool = True,
) -> Unit:
    """Add a unit.

    Args:
        work: the transaction.
        public_id: 1 to 50 of ``A-Za-z0-9.-`` (wire contract, section 11); the name everybody uses for it.
        name: the unit's own name, unique.
        external_display_name: how researchers see it.
        contact_email: whom they ask. That the address takes mail is not checked.
        internal_ref: what its project IDs and buckets begin with, at most 30 characters of the same
            alphabet; ``None`` means the public ID.
        days_in_available: 1 to 90, for projects that do not say.
        days_in_expired: 1 to 30, likewise.
        quota_bytes: 0 means none.
        warning_level: fraction of the quota, over 0 and at most 1.
        quota_enforced: refuse what goes over the quota; else only warn.

    Raises:
        InvalidFields: what does not fit, every field at once.
        AlreadyExists: the public ID, the name or the internal reference is another unit's; case does not matter.
    """
    unit = Unit(
        public_id=public_id.strip(),
        name=name.strip(),
        external_display_name=external_display_name.strip(),
        contact_email=contact_email.strip(),
        internal_ref=(public_id if internal_ref is None else internal_ref).strip(),
        days_in_available=days_in_available,
        days_in_expired=days_in_expired,
        quota_bytes=quota_bytes,
        warning_level=warning_level,
        quota_enforced=quota_enforced,
        created_at=work.now,
    )
    _require_none(_wrong(unit))
    await _require_new(work, unit)
    work.session.add(unit)
    try:
        await work.session.flush()
    except IntegrityError as wrong:
        raise AlreadyExists("Another unit took one of these names just now.") from wrong
    trail.record(work, "unit.create", unit.public_id, name=unit.name, quota_bytes=quota_bytes)
    return unit


async def find(work: Work, public_id: str, *, for_change: bool = False) -> Unit:
    """Return a unit; ``for_change`` locks its row until the transaction ends.

    Raises:
        NotFound: there is no such unit.
    """
    query = select(Unit).where(Unit.columns().public_id == public_id)
    found = await work.session.execute(
        query.with_for_update(key_share=True) if for_change else query
    )
    unit: Unit | None = found.scalar_one_or_none()
    if unit is None:
        raise NotFound(f"There is no unit '{public_id}'. See: ddsctl unit ls", unit=public_id)
    return unit


async def update(work: Work, public_id: str, wanted: Wanted, *, dry_run: bool) -> list[Change]:
    """Change a unit; return what that changes. Its public ID and internal reference are for good.

    Projects keep the deadlines they have. With ``dry_run`` everything is checked and nothing changed.

    Raises:
        Forbidden: the actor does not operate this service.
        NotFound: there is no such unit.
        InvalidFields: what is changed to what does not fit, every field at once.
        AlreadyExists: the name is another unit's; case does not matter.
    """
    require(work.actor, Action.OPERATE)
    unit = await find(work, public_id, for_change=True)
    now, then = row(unit), _with(row(unit), wanted)
    changes = [
        Change(field.name, getattr(now, field.name), getattr(then, field.name))
        for field in fields(Wanted)
        if getattr(now, field.name) != getattr(then, field.name)
    ]
    # A unit that was taken over from elsewhere may have a name that could not be given here.
    wrong = _wrong(then)
    _require_none({one.field: wrong[one.field] for one in changes if one.field in wrong})
    if then.name.lower() != now.name.lower():
        await _require_free(work, "name", Unit.columns().name, then.name)
    if changes and not dry_run:
        await _apply(work, unit, changes)
    return changes


async def listing(work: Work) -> list[UnitRow]:
    """Return every unit, by public ID."""
    found = await work.session.scalars(select(Unit).order_by(Unit.columns().public_id))
    return [row(unit) for unit in found]


def row(unit: Unit) -> UnitRow:
    """Return a unit as it is listed."""
    return UnitRow(
        public_id=unit.public_id,
        name=unit.name,
        external_display_name=unit.external_display_name,
        contact_email=unit.contact_email,
        internal_ref=unit.internal_ref,
        days_in_available=unit.days_in_available,
        days_in_expired=unit.days_in_expired,
        quota_bytes=unit.quota_bytes,
        warning_level=unit.warning_level,
        quota_enforced=unit.quota_enforced,
        undo_days=unit.undo_days,
        created_at=unit.created_at,
    )


def _with(now: UnitRow, wanted: Wanted) -> UnitRow:
    given: dict[str, Any] = {
        field.name: value.strip() if isinstance(value, str) else value
        for field in fields(wanted)
        if (value := getattr(wanted, field.name)) is not None
    }
    return replace(now, **given)


async def _apply(work: Work, unit: Unit, changes: Sequence[Change]) -> None:
    for change in changes:
        setattr(unit, change.field, change.after)
    try:
        await work.session.flush()
    except IntegrityError as wrong:
        raise AlreadyExists("Another unit took this name just now.") from wrong
    facts = {
        one.field: str(one.after) if isinstance(one.after, float) else one.after for one in changes
    }
    trail.record(work, "unit.update", unit.public_id, **facts)


def _wrong(unit: Unit | UnitRow) -> dict[str, list[str]]:
    """Return what does not fit, by field."""
    found = {
        "public_id": why_not_a_name(unit.public_id, MAX_PUBLIC_ID),
        "internal_ref": why_not_a_name(unit.internal_ref, MAX_INTERNAL_REF),
        "name": _why_not_a_text(unit.name),
        "external_display_name": _why_not_a_text(unit.external_display_name),
        "contact_email": _why_not_an_address(unit.contact_email),
        "days_in_available": _why_not_days(unit.days_in_available, MAX_DAYS_AVAILABLE),
        "days_in_expired": _why_not_days(unit.days_in_expired, MAX_DAYS_EXPIRED),
        "quota_bytes": _why_not_a_quota(unit.quota_bytes),
        "warning_level": [] if 0 < unit.warning_level <= 1 else ["must be over 0 and at most 1."],
    }
    # The reference is the public ID unless it was given: nobody needs to be told twice.
    found["internal_ref"] = [why for why in found["internal_ref"] if why not in found["public_id"]]
    return {field: why for field, why in found.items() if why}


def _require_none(wrong: dict[str, list[str]]) -> None:
    if wrong:
        raise InvalidFields(wrong)


def spelled(internal_ref: str) -> str:
    """Return how a unit's bucket names begin: the reference in small letters, with a dash for every dot."""
    return re.sub(r"[^a-z0-9-]", "-", internal_ref.lower())


def bucket_pattern(internal_ref: str) -> str:
    """Return the names of a unit's buckets, ``?`` for any one character: they have one length, and one beginning.

    No two units' patterns match the same name, as :func:`create` refuses references that are spelled alike, and of two
    different ones of one length neither begins the other.
    """
    return spelled(internal_ref) + _END_OF_BUCKETS


def why_not_a_name(text: str, longest: int) -> list[str]:
    """Say everything that keeps ``text`` from being a public ID or internal reference (wire contract, section 11)."""
    why = []
    if not _NAME.fullmatch(text):
        why.append("may only hold the letters A-Z and a-z, digits, '.' and '-', and not be empty.")
    if len(text) > longest:
        why.append(f"may have at most {longest} characters, not {len(text)}.")
    if text.startswith((".", "-")):
        why.append("may not start with '.' or '-'.")
    if text.count(".") > _MAX_DOTS:
        why.append(f"may have at most {_MAX_DOTS} dots.")
    if any(pair in text for pair in ("..", ".-", "-.")):
        why.append("may not have a '.' next to another '.' or to a '-': no bucket may.")
    if text.lower().startswith("xn--"):
        why.append("may not start with 'xn--'.")
    return why


def _why_not_a_text(text: str) -> list[str]:
    if not text:
        return ["may not be empty."]
    if len(text) > MAX_TEXT:
        return [f"may have at most {MAX_TEXT} characters, not {len(text)}."]
    return [] if text.isprintable() else ["may not hold line breaks or control characters."]


def _why_not_an_address(text: str) -> list[str]:
    try:
        validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError as wrong:
        return [f"is no e-mail address: {wrong}"]
    return _why_not_a_text(text)


def _why_not_days(days: int, most: int) -> list[str]:
    return [] if 1 <= days <= most else [f"must be from 1 to {most} days."]


def _why_not_a_quota(size_bytes: int) -> list[str]:
    if 0 <= size_bytes <= MAX_QUOTA_BYTES:
        return []
    return ["must be 0 (none) or more, and less than 8 EiB."]


async def _require_new(work: Work, unit: Unit) -> None:
    columns = Unit.columns()
    references = await work.session.execute(select(columns.internal_ref, columns.public_id))
    for reference, other in references:
        same = reference.lower() == unit.internal_ref.lower()  # said below, with the other names
        if spelled(reference) == spelled(unit.internal_ref) and not same:
            raise AlreadyExists(
                f"The buckets of the unit {other}, whose internal reference is '{reference}', would have the same "
                "names: choose another internal reference.",
                unit=other,
            )
    for what, column, value in (
        ("public ID", columns.public_id, unit.public_id),
        ("name", columns.name, unit.name),
        ("internal reference", columns.internal_ref, unit.internal_ref),
    ):
        await _require_free(work, what, column, value)


async def _require_free(work: Work, what: str, column: ColumnElement[str], value: str) -> None:
    other = await work.session.scalar(select(Unit.columns().public_id).where(_same(column, value)))
    if other is not None:
        raise AlreadyExists(
            f"There is already a unit with the {what} '{value}': {other}. Choose another.",
            unit=other,
        )


def _same(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    return func.lower(column) == func.lower(value)
