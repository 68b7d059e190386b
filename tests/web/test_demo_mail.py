"""The demo's mail: everybody reads it, in a demo and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ddsd.planes.web.demo_mail import Piece, pieces
from ddsd.settings import Settings
from ddsd.work import Services
from tests.builders import SettableClock
from tests.web.pages import look, send
from tests.web.people import code_of, invite
from tests.world import World, make_world, populate

OWN = "http://127.0.0.1:5000"


@pytest.fixture
async def demo(services: Services, clock: SettableClock, tmp_path: Path) -> World:
    settings = Settings.model_validate({"instance": {"state_dir": tmp_path, "demo": True}})
    services = replace(services, settings=settings)
    await populate(services)
    return make_world(services, clock)


async def test_every_page_of_a_demo_says_so(demo: World) -> None:
    for path, status in [("/", 200), ("/register", 200), ("/demo/mail", 200), ("/nothing", 404)]:
        page = await look(demo, path, status=status)
        assert "This is a demo." in page.one("aside").text


async def test_a_real_instance_says_nothing_of_a_demo(world: World) -> None:
    assert (await look(world, "/")).all("aside") == []


async def test_letters_are_listed_newest_first(demo: World) -> None:
    assert "No letter was written yet" in (await look(demo, "/demo/mail")).text
    await invite(demo, "one")
    demo.clock.advance(hours=1)
    await invite(demo, "two")
    page = await look(demo, "/demo/mail")
    rows = [" ".join(row.text.split()) for row in page.all("tr")[1:]]
    assert rows == [
        "2026-03-02 13:00:00 two@example.org Unit 1 invites you to the Data Delivery System",
        "2026-03-02 12:00:00 one@example.org Unit 1 invites you to the Data Delivery System",
    ]


async def test_a_letters_link_is_followed_to_an_account(demo: World) -> None:
    link = await invite(demo)
    listing = await look(demo, "/demo/mail")
    (address,) = [
        one.attributes["href"]
        for one in listing.all("a")
        if one.attributes["href"].startswith("/demo/mail/")
    ]
    letter = await look(demo, address)
    (path,) = [
        one.attributes["href"] for one in letter.all("a") if "#" in one.attributes["href"][1:]
    ]
    assert link == OWN + path
    opened = await send(demo, "/register/open", start=path, code=code_of(path))
    assert opened.one("input", id="email").attributes["value"] == "newcomer@example.org"


async def test_a_code_can_be_read_and_used(demo: World) -> None:
    partial = await demo.partial_token("researcher1")
    letter = await look(demo, "/demo/mail/1")
    code = next(word for word in letter.text.split() if len(word) == 8 and word.isdigit())
    answer = await demo.call("GET", "/user/second_factor", token=partial, json={"HOTP": code})
    assert answer.status_code == 200


@pytest.mark.parametrize("number", ["0", "2", "-1", str(2**31), str(2**63), "9" * 4000, "x", "1.0"])
async def test_a_letter_that_is_not_there_is_a_page(demo: World, number: str) -> None:
    await invite(demo)
    await look(demo, f"/demo/mail/{number}", status=404)


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (f"see {OWN}/register#abc_-1 now", ["/register#abc_-1"]),
        (f"{OWN}", ["/"]),
        (f"see {OWN}/ and {OWN}?x", ["/", "/"]),
        ("see http://127.0.0.1:50001/x", []),
        (f"see {OWN}.evil.example/x", []),
        (f"see {OWN}@evil.example/x", []),
        ("see https://example.org/register#x", []),
        (f'<{OWN}/a> "{OWN}/b"', ["/a", "/b"]),
        (f"{OWN}//evil.example/x", []),
        (f"{OWN}/\\evil.example/x", []),
        ("javascript:alert(1)", []),
    ],
)
def test_only_links_to_this_service_can_be_followed(text: str, links: list[str]) -> None:
    found = pieces(text, OWN)
    assert "".join(piece.text for piece in found) == text
    assert [piece.path for piece in found if piece.path] == links


def test_a_text_without_links_is_one_piece() -> None:
    assert pieces("a <b>", OWN) == [Piece("a <b>", "")]
