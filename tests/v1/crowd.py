"""Calls of the endpoints that concern people, and what became of them in the database."""

from __future__ import annotations

import json
from typing import Any

import httpx
from sqlalchemy import delete, select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.keys.tables import KeyWrap
from ddsd.mail import outbox
from ddsd.projects.tables import Membership, Project
from ddsd.secret import SecretText
from ddsd.users import registration
from ddsd.users.registration import Applicant
from ddsd.users.tables import Invite, User
from ddsd.work import reading, transaction
from tests.world import EMAIL, PASSWORD, World

Told = tuple[int, str | None]


def told(answer: httpx.Response) -> Told:
    """Return status and message; a test that expects neither sees the whole body."""
    body = answer.json()
    return answer.status_code, body.get("message", json.dumps(body))


async def add(
    world: World,
    who: str | None,
    email: str,
    role: Any = "Researcher",
    project: str | None = None,
    edition: str = "v1",
    **more: Any,
) -> httpx.Response:
    """Call ``user/add``."""
    query = f"?project={project}" if project else ""
    return await world.call(
        "POST",
        f"/user/add{query}",
        who,
        json={"email": email, "role": role} | more,
        edition=edition,
    )


async def revoke(world: World, who: str, email: str, project: str) -> httpx.Response:
    """Call ``user/access/revoke``."""
    return await world.call(
        "POST", f"/user/access/revoke?project={project}", who, json={"email": email}
    )


async def fix(world: World, who: str, email: str, project: str | None = None) -> httpx.Response:
    """Call ``proj/access``."""
    query = f"?project={project}" if project else ""
    return await world.call("POST", f"/proj/access{query}", who, json={"email": email})


async def owned_project(world: World, owner: str = "researcher1", who: str = "admin1") -> str:
    """Make a project with an owner."""
    project = await world.project(who)
    answer = await add(world, who, EMAIL.format(owner), "Project Owner", project)
    assert answer.status_code == 200, answer.text
    return project


async def holders(world: World, project: str) -> set[str]:
    """Return who holds the project's key: user names, and addresses of invites."""
    wraps = KeyWrap.columns()
    async with reading(world.services, System()) as work:
        found = await work.session.execute(
            select(User.columns().username, Invite.columns().email)
            .select_from(KeyWrap)
            .join(Project, Project.columns().id == wraps.project_id)
            .outerjoin(User, User.columns().id == wraps.user_id)
            .outerjoin(Invite, Invite.columns().id == wraps.invite_id)
            .where(Project.columns().public_id == project)
        )
        return {str(username or email) for username, email in found}


async def members(world: World, project: str) -> dict[str, str]:
    """Return who is in the project, as ``proj/users`` tells."""
    answer = await world.call("GET", f"/proj/users?project={project}", "super")
    return {one["Primary email"]: one["Role"] for one in answer.json()["research_users"]}


async def invited(world: World) -> dict[str, tuple[str, int | None]]:
    """Return role and unit of every invite, by address."""
    async with reading(world.services, System()) as work:
        found = await work.session.execute(select(Invite))
        return {one.email: (one.role.value, one.unit_id) for one in found.scalars()}


async def audited(world: World, action: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return actor, subject and facts of each line of a kind."""
    async with reading(world.services, System()) as work:
        table = AuditEntry.columns()
        found = await work.session.execute(
            select(AuditEntry).where(table.action == action).order_by(table.id)
        )
        return [(one.actor, one.subject, json.loads(one.facts)) for one in found.scalars()]


async def letters(world: World, address: str) -> list[str]:
    """Return the kinds of the letters to an address, oldest first."""
    async with reading(world.services, System()) as work:
        return [one.kind for one in await outbox.listing(work, 100, address)][::-1]


async def link_to(world: World, address: str, kind: str) -> SecretText:
    """Return the link in the newest letter of a kind."""
    text = await world.newest_mail(address, kind)
    return SecretText(next(word for word in text.split() if "#" in word))


async def accept(world: World, address: str, username: str) -> None:
    """Turn an invite into an account."""
    applicant = Applicant(username, username.title(), SecretText(PASSWORD))
    code = await link_to(world, address, "invite")
    await registration.register(world.services, code, applicant, address="192.0.2.1")


async def lose_keys(world: World, username: str) -> None:
    """Take away somebody's wraps, as a reset of the password does."""
    async with transaction(world.services, System()) as work:
        found = await work.session.execute(
            select(User.columns().id).where(User.columns().username == username)
        )
        await work.session.execute(
            delete(KeyWrap).where(KeyWrap.columns().user_id == found.scalar_one())
        )


async def opens(world: World, username: str, project: str) -> bool:
    """Say whether somebody is given the project's private key."""
    answer = await world.call("GET", f"/proj/private?project={project}", username)
    return answer.status_code == 200


async def count_memberships(world: World) -> int:
    """Return how many places in projects there are."""
    async with reading(world.services, System()) as work:
        return len((await work.session.execute(select(Membership.columns().id))).all())
