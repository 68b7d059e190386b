"""Resetting a forgotten password: who learns what, what is lost, and how it is given back."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from ddsd.access import System
from ddsd.audit.tables import AuditEntry
from ddsd.jobs import queue
from ddsd.jobs.tables import Job
from ddsd.units.tables import Unit
from ddsd.users import password_reset
from ddsd.users.tables import Session
from ddsd.work import reading, transaction
from tests.v1.people import deactivate
from tests.web.pages import Page, look, read, send
from tests.web.people import GOOD, allowing_attempts, code_of
from tests.web.visits import account, another_browser, kinds_mailed, log_in, mailed_link
from tests.world import EMAIL, PASSWORD, World


async def ask(world: World, email: str, status: int = 200) -> Page:
    """Ask for a link on the page."""
    return await send(world, "/forgot-password", status=status, email=email)


async def deliver(world: World) -> None:
    """Do what the job runner would do with the requests that wait."""
    async with reading(world.services, System()) as work:
        waiting = [job for job in await queue.listing(work) if job.kind == "mail_reset_link"]
    for job in waiting:
        await password_reset.mail_reset_link(world.services, job.subject)
    async with transaction(world.services, System()) as work:
        for job in (await work.session.execute(select(Job))).scalars():
            await work.session.delete(job)


async def link_for(world: World, who: str) -> str:
    """Ask for a link and return it."""
    await ask(world, EMAIL.format(who))
    await deliver(world)
    return await mailed_link(world, who, "reset_password")


async def reset(world: World, link: str, password: str = GOOD, status: int = 200) -> Page:
    """Open the link and choose a password."""
    code = code_of(link)
    return await send(
        world,
        "/reset-password",
        status=status,
        code=code,
        password=password,
        again=password,
    )


async def private_key(world: World, project: str, token: str) -> tuple[int, str]:
    answer = await world.call("GET", f"/proj/private?project={project}", token=token)
    body = answer.json()
    return answer.status_code, str(body.get("private") or body["message"])


async def test_the_new_password_logs_in_and_the_old_one_does_not(world: World) -> None:
    done = await reset(world, await link_for(world, "researcher1"))
    assert "Log in as researcher1" in done.text
    await log_in(another_browser(world), "researcher1", GOOD)
    await send(
        another_browser(world), "/login", status=401, username="researcher1", password=PASSWORD
    )


async def test_access_is_lost_until_a_colleague_fixes_it(world: World) -> None:
    project = await world.project("admin1")
    _, before = await private_key(world, project, await world.token_of("admin1"))
    await world.token_of("admin1b")
    await reset(world, await link_for(world, "admin1"))
    token = await world.login("admin1", GOOD)
    assert await private_key(world, project, token) == (
        403,
        "You have lost access to this project. This is likely due to a password reset, in which case you have lost "
        "access to all active projects. In order to regain access to this project, please contact "
        f"{await unit_of(world)} and ask them to run 'dds project access fix'.",
    )
    fixed = await world.call(
        "POST", "/proj/access", "admin1b", json={"email": EMAIL.format("admin1")}
    )
    assert fixed.status_code == 200, fixed.text
    assert await private_key(world, project, token) == (200, before)


async def unit_of(world: World) -> str:
    async with reading(world.services, System()) as work:
        unit = (
            await work.session.execute(select(Unit).where(Unit.columns().public_id == "unit1"))
        ).scalar_one()
    return f"{unit.external_display_name} ({unit.contact_email})"


async def test_every_login_ends_and_says_why(world: World) -> None:
    token = await world.token_of("researcher1")
    browser = another_browser(world)
    await log_in(browser, "researcher1")
    await reset(world, await link_for(world, "researcher1"))
    answer = await world.call("GET", "/user/info", token=token)
    assert (answer.status_code, answer.json()["message"]) == (
        401,
        "Password reset performed after last authentication. "
        "Start a new authenticated session to proceed.",
    )
    assert (await browser.http.get("/projects")).headers["Location"] == "/login"


async def test_the_page_warns_what_is_lost_and_names_who_can_repair_it(world: World) -> None:
    project = await world.project("admin1", "researcher1")
    code = code_of(await link_for(world, "researcher1"))
    page = await send(world, "/reset-password/open", start="/reset-password", code=code)
    assert "you can no longer decrypt their data" in page.text
    item = next(one.text for one in page.all("li") if project in one.text)
    assert (await unit_of(world)).partition(" (")[0] in item
    assert "the last" not in item


async def test_the_page_warns_the_last_who_can_open_a_project(world: World) -> None:
    project = await world.project("admin1")
    for one in ("admin1b", "admin1c", "staff1"):
        await deactivate(world, one)
    code = code_of(await link_for(world, "admin1"))
    page = await send(world, "/reset-password/open", start="/reset-password", code=code)
    item = next(one.text for one in page.all("li") if project in one.text)
    assert "You are the last who can open it" in item


async def test_who_holds_no_key_is_told_that_nothing_is_lost(world: World) -> None:
    code = code_of(await link_for(world, "researcher2"))
    page = await send(world, "/reset-password/open", start="/reset-password", code=code)
    assert "nothing is lost" in page.text


async def test_the_other_admins_of_a_unit_are_told_and_nobody_else(world: World) -> None:
    await deactivate(world, "admin1c")
    await reset(world, await link_for(world, "admin1"))
    letter = await world.newest_mail(EMAIL.format("admin1b"), "access_lost_admin")
    assert "    dds project access fix admin1@example.org" in letter
    for who in ("admin1", "admin1c", "staff1", "admin2"):
        assert "access_lost_admin" not in await kinds_mailed(world, who)
    assert "password_changed" in await kinds_mailed(world, "admin1")


async def test_a_researchers_reset_is_nobodys_alarm(world: World) -> None:
    await reset(world, await link_for(world, "researcher1"))
    for who in ("admin1", "admin2"):
        assert await kinds_mailed(world, who) == []


@pytest.mark.parametrize(
    "email", ["researcher1@example.org", "ReSearcher1@EXAMPLE.org", "nobody@example.org"]
)
async def test_the_answer_and_the_work_are_alike_whoever_asks(world: World, email: str) -> None:
    page = await ask(world, email)
    expected = await ask(another_browser(world), "somebody-else@example.org")
    assert page.text == expected.text
    async with reading(world.services, System()) as work:
        jobs = [job.subject for job in await queue.listing(work)]
        audited = (await work.session.execute(select(AuditEntry))).scalars().all()
    assert jobs == ["somebody-else@example.org", email.lower()]
    assert audited == []


async def test_an_address_that_no_account_has_gets_no_letter(world: World) -> None:
    await ask(world, "nobody@example.org")
    await deliver(world)
    assert await kinds_mailed(world, "nobody") == []


async def test_a_deactivated_account_gets_no_letter(world: World) -> None:
    await deactivate(world, "researcher1")
    await ask(world, EMAIL.format("researcher1"))
    await deliver(world)
    assert await kinds_mailed(world, "researcher1") == []


@pytest.mark.parametrize("email", ["", "x", "a@b@c", "é" * 300 + "@x.example", "a\x00@x.example"])
async def test_what_is_no_address_is_told(world: World, email: str) -> None:
    page = await ask(world, email, 400)
    assert page.all("a", href="#email")


async def test_a_very_long_address_is_taken(world: World) -> None:
    long = "a" * 64 + "@" + ".".join(["b" * 55] * 3) + ".example"
    await ask(world, long)
    await deliver(world)


async def test_a_mailbox_is_not_flooded_and_the_link_in_it_stays_good(world: World) -> None:
    link = await link_for(world, "researcher1")
    for number in range(5):
        other = another_browser(world)
        await ask(other, EMAIL.format("researcher1"))
        await deliver(world)
        world.clock.advance(seconds=number)
    assert (await kinds_mailed(world, "researcher1")).count("reset_password") == 1
    await reset(world, link)


async def test_requests_from_one_address_are_limited(world: World) -> None:
    strict = allowing_attempts(world, 3)
    for number in range(3):
        await ask(strict, f"somebody{number}@example.org")
    form = await look(strict, "/forgot-password")
    answer = await strict.http.post(
        "/forgot-password", data=form.fields | {"email": "somebody9@example.org"}
    )
    read(answer, status=429)
    assert 0 < int(answer.headers["Retry-After"]) <= 3600


async def test_a_link_works_once(world: World) -> None:
    link = await link_for(world, "researcher1")
    await reset(world, link)
    await reset(world, link, GOOD + "2", status=404)
    await log_in(another_browser(world), "researcher1", GOOD)


async def test_a_link_works_for_an_hour(world: World) -> None:
    link = await link_for(world, "researcher1")
    world.clock.advance(hours=1)
    await reset(world, link, status=404)


async def test_of_two_who_use_one_link_at_once_one_wins(world: World) -> None:
    code = code_of(await link_for(world, "researcher1"))
    form = await look(world, "/reset-password")
    wanted = (GOOD, GOOD + "2")
    answers = await asyncio.gather(
        *(
            world.http.post(
                "/reset-password",
                data=form.fields | {"code": code, "password": one, "again": one},
            )
            for one in wanted
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200, 404]
    await log_in(another_browser(world), "researcher1", wanted[statuses.index(200)])


async def test_a_login_at_the_same_moment_does_not_outlive_the_reset(world: World) -> None:
    code = code_of(await link_for(world, "researcher1"))
    form = await look(world, "/reset-password")
    before = (await account(world, "researcher1")).public_key
    done, *_ = await asyncio.gather(
        world.http.post(
            "/reset-password", data=form.fields | {"code": code, "password": GOOD, "again": GOOD}
        ),
        *(
            world.http.get(
                "/api/v1/user/encrypted_token",
                headers={"X-CLI-Version": "2.15.1"},
                auth=("researcher1", PASSWORD),
            )
            for _ in range(3)
        ),
    )
    assert done.status_code == 200
    assert (await account(world, "researcher1")).public_key != before
    async with reading(world.services, System()) as work:
        alive = await work.session.execute(
            select(Session).where(Session.columns().revoked_at.is_(None))
        )
        assert alive.all() == []


async def test_a_weak_password_leaves_the_link_good_and_is_warned_again(world: World) -> None:
    link = await link_for(world, "researcher1")
    page = await reset(world, link, "short", status=400)
    assert page.all("a", href="#password")
    assert "What you lose" in page.text
    await reset(world, link)


@pytest.mark.parametrize("code", ["", "x", "A" * 43, "é" * 43, "\x00"], ids=ascii)
async def test_a_forged_link_is_refused(world: World, code: str) -> None:
    page = await send(world, "/reset-password/open", start="/reset-password", status=404, code=code)
    assert page.all("a", href="#code")


async def test_the_second_factor_stays_what_it_was(world: World) -> None:
    await reset(world, await link_for(world, "researcher1"))
    partial = await world.partial_token("researcher1", GOOD)
    assert (await world.call("GET", "/user/info", token=partial)).status_code == 401


async def test_a_reset_is_recorded_with_what_it_cost(world: World) -> None:
    await world.project("admin1", "researcher1")
    await reset(world, await link_for(world, "researcher1"))
    async with reading(world.services, System()) as work:
        entries = (await work.session.execute(select(AuditEntry))).scalars().all()
    assert [one.facts for one in entries if one.action == "user.reset_password"] == [
        '{"keys_lost": 1, "sessions_ended": 0}'
    ]
