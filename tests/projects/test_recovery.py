"""Recovery kits: what a unit's paper opens, who may make, use and end it, and that its words are kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import LargeBinary, String, select

from ddsd.access import Actor, Member, Nobody, Operator, System
from ddsd.audit.tables import AuditEntry
from ddsd.db.base import METADATA
from ddsd.errors import (
    AccessLost,
    AlreadyExists,
    Busy,
    Forbidden,
    InvalidFields,
    NotFound,
    SealBroken,
)
from ddsd.keys import kits
from ddsd.keys import service as keys
from ddsd.keys.tables import KeyWrap, RecoveryKit
from ddsd.keys.unlocked import Unlocked
from ddsd.mail import outbox
from ddsd.projects import projects, recovery
from ddsd.projects.projects import ProjectFields
from ddsd.projects.recovery import NewKit
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.users import login, passwords
from ddsd.users.sessions import member_of
from ddsd.users.tables import User
from ddsd.work import Services, Work, reading, transaction
from tests.users.people import PASSWORD
from tests.world import EMAIL, populate


@pytest.fixture
async def unit(services: Services) -> Services:
    """Two units with people."""
    await populate(services)
    return services


async def who(services: Services, username: str) -> tuple[Member, Unlocked]:
    async with reading(services, System()) as work:
        query = select(User).where(User.columns().username == username)
        user = (await work.session.execute(query)).scalar_one()
    split = await services.deriver.derive(PASSWORD, user.kdf_salt or b"", services.deriver.cost)
    return member_of(user, 1), login.unlock(user, split)


async def project(services: Services, username: str = "admin1") -> tuple[int, str, bytes]:
    """Make a project; return its number, public id and private key."""
    member, _ = await who(services, username)
    async with transaction(services, member) as work:
        made = await projects.create(
            work,
            ProjectFields(title="T", description="D", pi="pi@example.org", non_sensitive=False),
        )
        return made.project.id, made.project.public_id, made.pair.private.reveal()


async def make(services: Services, username: str = "admin1") -> NewKit:
    member, key = await who(services, username)
    async with transaction(services, member) as work:
        return await recovery.make(work, key)


async def lose(services: Services, *usernames: str) -> None:
    """Let people lose their keys as by a reset password: another pair, and no wraps."""
    for username in usernames:
        member, _ = await who(services, username)
        derived = await passwords.derive_new(services, PASSWORD)
        async with transaction(services, System()) as work:
            user = await work.session.get_one(User, member.user_id)
            passwords.set_first(work, user, *derived)
            await keys.forget_holder(work, user_id=user.id)


async def opens(services: Services, username: str, number: int, uid: str) -> bytes | None:
    member, key = await who(services, username)
    async with reading(services, member) as work:
        try:
            return (await keys.open_for(work, key, member.user_id, number, uid)).reveal()
        except AccessLost:
            return None


async def letters(services: Services, username: str) -> Sequence[str]:
    async with reading(services, System()) as work:
        found = await outbox.listing(work, 100, EMAIL.format(username))
        views = [await outbox.show(work, one.id) for one in found if one.kind == "recovery_kit"]
    return [f"{view.envelope.subject}\n{view.text}" for view in views]


async def actions(services: Services) -> list[tuple[str, str, str]]:
    async with reading(services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    return [(one.actor, one.action, one.subject) for one in entries if "kit" in one.action]


async def test_a_kit_restores_every_project_old_and_new_when_all_have_lost_theirs(
    unit: Services,
) -> None:
    old = await project(unit)
    kit = await make(unit)
    new = await project(unit)
    await lose(unit, "admin1", "admin1b", "admin1c", "staff1")
    member, _ = await who(unit, "admin1b")
    async with transaction(unit, member) as work:
        restored = await recovery.restore(work, kit.words)
    assert (restored.wraps, restored.people, restored.lacking) == (2, 1, [])
    for number, uid, private in (old, new):
        assert await opens(unit, "admin1b", number, uid) == private
        assert await opens(unit, "admin1", number, uid) is None


async def test_everybody_of_the_unit_is_restored_if_asked_and_nobody_else(unit: Services) -> None:
    number, uid, private = await project(unit)
    kit = await make(unit)
    await lose(unit, "admin1", "admin1b", "staff1")
    member, _ = await who(unit, "admin1")
    async with transaction(unit, member) as work:
        restored = await recovery.restore(work, kit.words, everyone=True)
    assert (restored.wraps, restored.people) == (3, 4)
    for username in ("admin1", "admin1b", "admin1c", "staff1"):
        assert await opens(unit, username, number, uid) == private
    assert await opens(unit, "admin2", number, uid) is None


async def test_deactivated_people_are_not_restored(unit: Services) -> None:
    number, uid, _ = await project(unit)
    kit = await make(unit)
    await lose(unit, "staff1")
    member, _ = await who(unit, "admin1")
    staff, _ = await who(unit, "staff1")
    async with transaction(unit, member) as work:
        (await work.session.get_one(User, staff.user_id)).active = False
        await work.session.flush()
        assert (await recovery.restore(work, kit.words, everyone=True)).wraps == 0
    assert await opens(unit, "staff1", number, uid) is None


async def test_projects_its_maker_does_not_open_are_named_and_another_admin_completes_it(
    unit: Services,
) -> None:
    _, closed, _ = await project(unit)
    await lose(unit, "admin1")
    _, opened, _ = await project(unit)
    kit = await make(unit)
    assert (kit.view.covered, kit.view.lacking) == (1, [closed])
    member, key = await who(unit, "admin1b")
    async with transaction(unit, member) as work:
        view = await recovery.complete(work, key)
        assert (view.covered, view.lacking) == (2, [])
        assert view == await recovery.look(work)
        await recovery.complete(work, key)
    heads = [text.partition(":")[0] for text in await letters(unit, "admin1c")]
    assert heads == ["The recovery kit opens more projects", "A recovery kit was made"]
    assert opened not in kit.view.lacking


async def test_a_new_kit_takes_the_place_of_the_old_whose_words_open_nothing(
    unit: Services,
) -> None:
    number, uid, private = await project(unit)
    old = await make(unit)
    member, key = await who(unit, "admin1b")
    async with transaction(unit, member) as work:
        new = await recovery.rotate(work, key)
    async with reading(unit, System()) as work:
        held = (await work.session.execute(select(KeyWrap.columns().kit_id))).scalars().all()
        counting = (
            await work.session.execute(
                select(RecoveryKit.columns().id).where(RecoveryKit.columns().revoked_at.is_(None))
            )
        ).scalars()
        assert [one for one in held if one is not None] == list(counting)
    await lose(unit, "admin1")
    member, _ = await who(unit, "admin1")
    with pytest.raises(InvalidFields, match="replaced"):
        async with transaction(unit, member) as work:
            await recovery.restore(work, old.words)
    async with transaction(unit, member) as work:
        await recovery.restore(work, new.words)
    assert await opens(unit, "admin1", number, uid) == private


async def test_a_kit_is_not_replaced_twice_by_one_wish(unit: Services) -> None:
    old = await make(unit)
    member, key = await who(unit, "admin1")
    async with transaction(unit, member) as work:
        new = await recovery.rotate(work, key, replaces=old.view.uid)
    with pytest.raises(Busy):
        async with transaction(unit, member) as work:
            await recovery.rotate(work, key, replaces=old.view.uid)
    async with reading(unit, member) as work:
        assert await recovery.look(work) == new.view


async def test_a_revoked_kit_opens_nothing_and_new_projects_do_without(unit: Services) -> None:
    await project(unit)
    kit = await make(unit)
    member, _ = await who(unit, "admin1")
    async with transaction(unit, member) as work:
        await recovery.revoke(work)
        assert await recovery.look(work) is None
    await project(unit)
    async with reading(unit, System()) as work:
        held = (await work.session.execute(select(KeyWrap.columns().kit_id))).scalars().all()
        assert set(held) == {None}
    with pytest.raises(NotFound):
        async with transaction(unit, member) as work:
            await recovery.restore(work, kit.words)
    await make(unit)


@pytest.mark.parametrize("rotating", [False, True])
async def test_a_kit_that_alone_opens_a_project_ends_only_when_that_is_confirmed(
    unit: Services, rotating: bool
) -> None:
    number, uid, private = await project(unit)
    kit = await make(unit)
    await lose(unit, "admin1", "admin1b", "admin1c", "staff1")
    member, key = await who(unit, "admin1")

    async def end(work: Work, *, confirmed: bool) -> None:
        if rotating:
            await recovery.rotate(work, key, confirmed=confirmed)
        else:
            await recovery.revoke(work, confirmed=confirmed)

    with pytest.raises(Forbidden, match=uid):
        async with transaction(unit, member) as work:
            await end(work, confirmed=False)
    async with transaction(unit, member) as work:
        await recovery.restore(work, kit.words)
    assert await opens(unit, "admin1", number, uid) == private
    await lose(unit, "admin1")
    async with transaction(unit, member) as work:
        await end(work, confirmed=True)
    async with reading(unit, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
        assert ("project.lose_last_holder", uid) in [(one.action, one.subject) for one in entries]
        assert (await work.session.execute(select(KeyWrap))).scalars().all() == []


async def test_another_units_admin_and_words_get_nothing(unit: Services) -> None:
    number, uid, _ = await project(unit)
    await project(unit, "admin2")
    kit = await make(unit)
    foreign = await make(unit, "admin2")
    assert (foreign.view.covered, foreign.view.lacking) == (1, [])
    member, _ = await who(unit, "admin2")
    with pytest.raises(InvalidFields):
        async with transaction(unit, member) as work:
            await recovery.restore(work, kit.words, everyone=True)
    assert await opens(unit, "admin2", number, uid) is None


@pytest.mark.parametrize(
    "username", ["super", "staff1", "researcher1", "operator", "nobody", "job"]
)
async def test_only_a_unit_admin_has_to_do_with_kits(unit: Services, username: str) -> None:
    kit = await make(unit)
    _, key = await who(unit, "admin1")
    others: dict[str, Actor] = {
        "operator": Operator(0, "root"),
        "nobody": Nobody(),
        "job": System(),
    }
    actor = others.get(username) or (await who(unit, username))[0]
    calls: Sequence[Callable[[Work], Awaitable[object]]] = (
        recovery.look,
        recovery.revoke,
        lambda work: recovery.make(work, key),
        lambda work: recovery.rotate(work, key),
        lambda work: recovery.complete(work, key),
        lambda work: recovery.restore(work, kit.words),
    )
    for call in calls:
        with pytest.raises(Forbidden, match="Insufficient credentials"):
            async with transaction(unit, actor) as work:
                await call(work)


async def test_a_second_kit_is_refused_and_without_one_there_is_nothing_to_use(
    unit: Services,
) -> None:
    member, key = await who(unit, "admin1")
    calls: Sequence[Callable[[Work], Awaitable[object]]] = (
        recovery.revoke,
        lambda work: recovery.rotate(work, key),
        lambda work: recovery.complete(work, key),
        lambda work: recovery.restore(work, SecretText("abandon " * 23 + "art")),
    )
    for call in calls:
        with pytest.raises(NotFound):
            async with transaction(unit, member) as work:
                await call(work)
    await make(unit)
    with pytest.raises(AlreadyExists):
        await make(unit, "admin1b")


async def test_of_two_who_make_a_kit_at_once_one_is_told(unit: Services) -> None:
    results = await asyncio.gather(make(unit), make(unit, "admin1b"), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["AlreadyExists", "NewKit"]


async def test_projects_made_while_a_kit_is_made_are_opened_by_it(unit: Services) -> None:
    await asyncio.gather(
        project(unit), project(unit, "admin1b"), make(unit), project(unit), project(unit, "staff1")
    )
    member, _ = await who(unit, "admin1")
    async with reading(unit, member) as work:
        view = await recovery.look(work)
    assert view is not None
    assert (view.covered, view.lacking) == (4, [])


async def test_every_change_is_recorded_and_mailed_to_the_units_admins(unit: Services) -> None:
    await project(unit)
    kit = await make(unit)
    member, key = await who(unit, "admin1")
    async with transaction(unit, member) as work:
        await recovery.restore(work, kit.words)
        await recovery.complete(work, key)
        await recovery.rotate(work, key)
        await recovery.revoke(work)
    assert await actions(unit) == [
        ("user admin1", f"unit.{verb}", "unit1")
        for verb in ("make_kit", "use_kit", "complete_kit", "rotate_kit", "revoke_kit")
    ]
    for username in ("admin1", "admin1b", "admin1c"):
        heads = [text.partition(":")[0] for text in await letters(unit, username)]
        assert heads == [
            "The recovery kit was revoked",
            "The recovery kit was replaced by a new one",
            "The recovery kit was used",
            "A recovery kit was made",
        ]
    for username in ("staff1", "admin2", "super"):
        assert await letters(unit, username) == []


async def test_the_words_and_the_private_key_are_in_no_row(unit: Services) -> None:
    await project(unit)
    kit = await make(unit)
    member, _ = await who(unit, "admin1")
    async with transaction(unit, member) as work:
        await recovery.restore(work, kit.words, everyone=True)
    secret = bytes(kits._LIST.to_entropy(kit.words.text()))
    private = kits.open_kit(kit.words)._pair.private.reveal()
    async with reading(unit, System()) as work:
        for table in METADATA.sorted_tables:
            for column in table.columns:
                values = (await work.session.execute(select(column))).scalars().all()
                if isinstance(column.type, LargeBinary):
                    assert not any(one in (v or b"") for v in values for one in (secret, private))
                elif isinstance(column.type, String):
                    forms = [kit.words.text(), secret.hex(), private.hex()]
                    assert not any(one in (v or "") for v in values for one in forms)
        for username in ("admin1", "admin1b"):
            for letter in await letters(unit, username):
                assert kit.words.text() not in letter
                assert " ".join(kit.words.text().split()[:3]) not in letter
    assert "***" in repr(kit)
    assert kit.words.text() not in repr(kit)


async def test_a_wrap_that_was_tampered_with_restores_nothing(unit: Services) -> None:
    await project(unit)
    kit = await make(unit)
    await lose(unit, "admin1")
    async with transaction(unit, System()) as work:
        query = select(KeyWrap).where(KeyWrap.columns().kit_id.is_not(None))
        row = (await work.session.execute(query)).scalar_one()
        row.blob = row.blob[:-1] + bytes([row.blob[-1] ^ 1])
    member, _ = await who(unit, "admin1")
    with pytest.raises(SealBroken):
        async with transaction(unit, member) as work:
            await recovery.restore(work, kit.words)


async def test_inactive_projects_are_left_alone(unit: Services) -> None:
    number, _, _ = await project(unit)
    async with transaction(unit, System()) as work:
        (await work.session.get_one(Project, number)).active = False
    kit = await make(unit)
    assert (kit.view.covered, kit.view.lacking) == (0, [])
