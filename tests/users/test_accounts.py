"""Accounts as an operator makes them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from ddsd.access import Operator, Role
from ddsd.errors import AlreadyExists, InvalidFields, InvalidInput, NotFound
from ddsd.users import accounts, invites
from ddsd.users.accounts import NewAccount
from ddsd.users.tables import OneTimeLink, User, UserEmail
from ddsd.work import Services, transaction
from tests.builders import SettableClock, a_unit

EVA = {
    "username": "eva",
    "name": "Eva Ek",
    "email": "eva@example.org",
    "role": Role.RESEARCHER,
    "unit_public_id": None,
}
ROOT = Operator(0, "root")


async def create(services: Services, **changes: Any) -> NewAccount:
    async with transaction(services, ROOT) as work:
        return await accounts.create(work, **(EVA | changes))


async def test_an_account_waits_for_its_person(services: Services) -> None:
    made = await create(services, email="Eva@Example.ORG", name=" E\u0301va  Ek")
    assert made.user.name == "Éva Ek"
    assert made.email == "eva@example.org"
    assert "/set-password#" in made.link
    assert (made.user.auth_verifier, made.user.public_key) == (None, None)
    async with transaction(services, ROOT) as work:
        link = (await work.session.execute(select(OneTimeLink))).scalar_one()
        assert link.user_id == made.user.id
        assert made.link.partition("#")[2].encode() not in link.secret_hash


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": "ev"}, "username"),
        ({"username": "e" * 31}, "username"),
        ({"username": "e v a"}, "username"),
        ({"username": "eva\n"}, "username"),
        ({"username": "éva"}, "username"),
        ({"name": " E "}, "name"),
        ({"name": "E\x00va"}, "name"),
        ({"name": "E" * 256}, "name"),
        ({"email": "eva"}, "email"),
    ],
)
async def test_names_and_addresses_are_checked(
    services: Services, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidFields) as refused:
        await create(services, **changes)
    assert list(refused.value.fields) == [field]


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "EVA", "email": "other@example.org"},
        {"username": "evva", "email": "other@example.org"},
        {"username": "other", "email": "EVA@example.org"},
    ],
)
async def test_nobody_is_there_twice_in_whatever_case(
    services: Services, changes: dict[str, Any]
) -> None:
    await create(services, username="ewa" if changes["username"] == "evva" else "eva")
    with pytest.raises(AlreadyExists):
        await create(services, **changes)


async def test_somebody_invited_gets_no_account_beside_the_invite(
    services: Services, clock: SettableClock
) -> None:
    async with transaction(services, ROOT) as work:
        await invites.create(
            work,
            email="eva@example.org",
            role=Role.RESEARCHER,
            unit_id=None,
            inviter="Unit 1",
            unit_contact="unit1@example.org",
        )
    with pytest.raises(AlreadyExists, match="ddsctl invite delete eva@"):
        await create(services, email="Eva@example.org")
    clock.advance(days=8)  # an expired invite stands in nobody's way
    await create(services)


@pytest.mark.parametrize("role", [Role.UNIT_ADMIN, Role.UNIT_PERSONNEL])
async def test_unit_roles_need_a_unit(services: Services, role: Role) -> None:
    async with transaction(services, ROOT) as work:
        unit = await a_unit(work.session)
    with pytest.raises(InvalidInput):
        await create(services, role=role)
    with pytest.raises(NotFound):
        await create(services, role=role, unit_public_id="nope")
    made = await create(services, role=role, unit_public_id=unit.public_id)
    assert made.user.unit_id == unit.id


@pytest.mark.parametrize("role", [Role.SUPER_ADMIN, Role.RESEARCHER])
async def test_other_roles_have_none(services: Services, role: Role) -> None:
    with pytest.raises(InvalidInput):
        await create(services, role=role, unit_public_id="unit1")


async def test_a_refused_account_leaves_nothing(services: Services) -> None:
    with pytest.raises(InvalidInput):
        await create(services, role=Role.UNIT_ADMIN)
    async with transaction(services, ROOT) as work:
        for table in (User, UserEmail, OneTimeLink):
            assert (await work.session.execute(select(table))).all() == []


async def test_people_are_found_by_any_spelling_of_their_address(services: Services) -> None:
    made = await create(services)
    async with transaction(services, ROOT) as work:
        for spelled in ("eva@example.org", "EVA@Example.org"):
            found = await accounts.find_by_email(work, spelled)
            assert found is not None
            assert found.id == made.user.id
        assert await accounts.find_by_email(work, "other@example.org") is None
        with pytest.raises(InvalidInput):
            await accounts.find_by_email(work, "no address")


async def test_the_list_is_by_username_and_of_one_unit_if_so_wished(services: Services) -> None:
    async with transaction(services, ROOT) as work:
        unit = await a_unit(work.session)
    await create(services, username="zoe", email="zoe@example.org")
    await create(services, role=Role.UNIT_ADMIN, unit_public_id=unit.public_id)
    async with transaction(services, ROOT) as work:
        everybody = await accounts.listing(work)
        theirs = await accounts.listing(work, unit.public_id)
    assert [one.username for one in everybody] == ["eva", "zoe"]
    assert [(one.username, one.email, one.unit_public_id) for one in theirs] == [
        ("eva", "eva@example.org", unit.public_id)
    ]
