"""What every page has in common: what it may contain, how it is refused, and how forms are proven to be ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddsd import errors
from ddsd.db.engine import Database
from ddsd.errors import DdsError
from ddsd.planes.web import refusals
from ddsd.settings import Settings
from ddsd.work import Services
from tests.builders import SettableClock
from tests.services import make_services
from tests.web.pages import look, read, send
from tests.world import World, make_world

FORMS = ["/set-password", "/register", "/register/open"]


def leaves(root: type[DdsError] = DdsError) -> Iterator[type[DdsError]]:
    yield root
    for one in root.__subclasses__():
        yield from leaves(one)


def with_instance(services: Services, tmp_path: Path, **instance: Any) -> Services:
    settings = Settings.model_validate({"instance": {"state_dir": tmp_path} | instance})
    return make_services(
        services.database,
        SettableClock(services.clock.now()),
        tmp_path,
        settings=settings,
        instance_key=services.instance_key,
    )


async def test_the_first_page_says_how_to_log_in(world: World) -> None:
    page = await look(world, "/")
    assert "pip install dds-cli" in page.text
    assert "dds auth login" in page.text
    assert "export DDS_CLI_ENV=development" in page.text


async def test_the_facility_and_its_contact_are_named_and_escaped(
    services: Services, tmp_path: Path
) -> None:
    world = make_world(
        with_instance(
            services,
            tmp_path,
            facility="<b>Möbius & Söhne</b>",
            contact="help@example.org",
            public_url="https://dds.example.org",
        ),
        SettableClock(),
    )
    page = await look(world, "/")
    assert page.all("b") == []
    assert page.one("a", href="/", **{"class": "facility"}).text == "<b>Möbius & Söhne</b>"
    assert page.all("a", href="mailto:help@example.org")
    assert "https://dds.example.org" in page.text
    assert "DDS_CLI_ENV" not in page.text


@pytest.mark.parametrize("path", ["/", "/set-password", "/register"])
async def test_nothing_outside_the_service_is_loaded(world: World, path: str) -> None:
    page = await look(world, path)
    loaded = [one.attributes["src"] for one in page.all("script")]
    loaded += [one.attributes["href"] for one in page.all("link")]
    for address in loaded:
        answer = await world.http.get(address)
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [address.partition("?")[0] for address in loaded] == [
        "/assets/site.js",
        "/assets/site.css",
        "/assets/icon.svg",
    ]


@pytest.mark.parametrize(
    "name", ["nothing.css", "..%2f..%2fpage.py", "../page.py", "%2e%2e/page.py"]
)
async def test_only_assets_are_served_as_assets(world: World, name: str) -> None:
    assert (await world.http.get(f"/assets/{name}")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/nothing", "/demo/mail", "/demo/mail/1", "/set-password/x", "/%ff", "/<script>"]
)
async def test_an_unknown_page_is_a_page(world: World, path: str) -> None:
    answer = await world.http.get(f"http://ddsd.test{path}")
    page = read(answer, status=404)
    assert page.one("h1").text == "There is no such page"


@pytest.mark.parametrize("path", ["*", "", "x"])
async def test_a_target_that_is_no_path_is_refused(world: World, path: str) -> None:
    """HTTP allows ``*`` (RFC 9112, section 3.2.4), which httpx cannot send."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send_it(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("ddsd.test", 80),
        "client": None,
        "root_path": "",
        "http_version": "1.1",
    }
    await world.app(scope, receive, send_it)
    assert sent[0]["status"] in {200, 404}


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1/nothing", "/api/v3/nothing", "/api/v9/x", "/status/x"]
)
async def test_an_unknown_address_of_the_api_is_json(world: World, path: str) -> None:
    answer = await world.http.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert set(answer.json()) == {"message"}


async def test_the_status_is_json_and_needs_no_form(world: World) -> None:
    assert (await world.http.get("/status")).json() == {"status": "ready"}
    refused = await world.http.post("/status")
    assert refused.status_code == 405
    assert set(refused.json()) == {"message"}


async def test_a_method_no_page_has_is_refused_with_a_page(world: World) -> None:
    answer = await world.http.request("DELETE", "/set-password")
    read(answer, status=405)
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


async def test_the_api_needs_no_form_of_ours(world: World) -> None:
    answer = await world.call("POST", "/user/second_factor", json={})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", FORMS)
async def test_a_post_without_proof_is_refused(world: World, path: str) -> None:
    answer = await world.http.post(path, data={"code": "x", "password": "y"})
    page = read(answer, status=403)
    assert "open the link in your mail once more" in page.text


@pytest.mark.parametrize("path", FORMS)
async def test_a_post_with_the_proof_of_another_browser_is_refused(world: World, path: str) -> None:
    strange = make_world(world.services, world.clock)
    token = (await look(strange, "/register")).fields["_csrf_token"]
    await look(world, "/register")
    read(await world.http.post(path, data={"_csrf_token": token}), status=403)


@pytest.mark.parametrize(
    "token", ["", "x", "0" * 128, "é" * 128, "\x00" * 128], ids=["no", "x", "zeros", "é", "nul"]
)
async def test_a_made_up_proof_is_refused(world: World, token: str) -> None:
    await look(world, "/register")
    for data in ({"_csrf_token": token}, {"_csrf_token": [token, token]}):
        read(await world.http.post("/set-password", data=data), status=403)
    world.http.cookies.clear()
    made_up = token.encode("latin-1").replace(b"\x00", b"") or b"x"
    answer = await world.http.post(
        "/set-password",
        data={"_csrf_token": token},
        headers=[(b"Cookie", b"ddsd-form=" + made_up), (b"X-CSRFToken", made_up)],
    )
    read(answer, status=403)


async def test_a_browser_with_a_cookie_of_another_installation_is_healed(world: World) -> None:
    world.http.cookies.set("ddsd-form", "0" * 128, domain="ddsd.test")
    form = await look(world, "/register")
    refused = await world.http.post("/register/open", data=form.fields)
    read(refused, status=403)
    form = await look(world, "/register")
    read(await world.http.post("/register/open", data=form.fields), status=404)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
        ("multipart/form-data", b""),
        ("text/plain", b"code=x"),
        ("", b"code=x"),
    ],
)
async def test_only_forms_as_browsers_send_them_are_taken(
    world: World, kind: str, body: bytes
) -> None:
    answer = await world.http.post("/register", content=body, headers={"Content-Type": kind})
    read(answer, status=415)


async def test_a_page_can_be_asked_for_without_its_body(world: World) -> None:
    for path in ("/", "/register", "/set-password"):
        assert (await world.http.head(path)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data; boundary=x", 415),
        ("application/json", 200),
        ("application/x-www-form-urlencoded", 200),
        ("", 200),
    ],
)
async def test_what_is_sent_along_with_a_get_is_not_stumbled_over(
    world: World, kind: str, status: int
) -> None:
    head = b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=zz'
    part = b"--x\r\n" + head + b"\r\n\r\nb\r\n--x--\r\n"
    answer = await world.http.request(
        "GET", "/register", content=part, headers={"Content-Type": kind} if kind else {}
    )
    read(answer, status=status)


async def test_a_form_that_is_too_large_is_refused_with_a_page(world: World) -> None:
    form = await look(world, "/register")
    answer = await world.http.post("/register", data=form.fields | {"name": "x" * 20_000})
    read(answer, status=413)


async def test_over_tls_the_cookie_is_for_this_host_alone(
    services: Services, tmp_path: Path
) -> None:
    https = with_instance(services, tmp_path, public_url="https://dds.example.org")
    world = make_world(https, SettableClock())
    cookie = (await world.http.get("/register")).headers["set-cookie"]
    assert cookie.startswith("__Host-ddsd-form=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))


def test_every_refusal_of_the_domain_has_a_status_and_words() -> None:
    for leaf in leaves():
        if leaf in refusals.STATUSES or leaf is DdsError:
            continue
        assert any(issubclass(leaf, kind) for kind in refusals.STATUSES), leaf


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidFields({"name": ["x"]}), 400),
        (errors.NotFound("gone"), 404),
        (errors.StoreObjectMissing("x"), 503),
        (errors.TooManyRequests("slow", retry_after_s=5), 429),
        (errors.UnderMaintenance("closed"), 503),
        (errors.SealBroken("x"), 503),
        (errors.AlreadyExists("x"), 409),
    ],
)
def test_refusals_have_the_status_a_browser_understands(error: DdsError, status: int) -> None:
    assert refusals.status_of(error) == status


def test_what_operators_have_to_mend_is_not_shown_to_readers() -> None:
    assert "bucket-7" not in refusals.words_of(errors.StoreRefused("bucket-7 said no"))


async def test_a_database_that_is_away_is_told_on_the_form(
    services: Services, tmp_path: Path
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    world = make_world(make_services(away, SettableClock(), tmp_path), SettableClock())
    page = await send(world, "/register/open", start="/register", status=503, code="A" * 43)
    assert "The database does not answer" in page.text
