"""The log: one request a line, and no secret in any line."""

from __future__ import annotations

import io
import json
import logging
import signal
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from ddsd import log
from ddsd.secret import SecretBytes, SecretText
from ddsd.settings import LogFormat
from tests.daemon.process import Daemon

Start = Callable[..., Daemon]
ODD = "tests.daemon.odd_planes"
SECRET = "hunter2-hunter2"


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture(params=list(LogFormat))
def stream(request: pytest.FixtureRequest, restored: None) -> io.StringIO:
    stream = io.StringIO()
    log.configure("info", request.param, stream)
    return stream


@pytest.mark.parametrize(
    "facts",
    [
        {"password": SECRET},
        {"new_password": SECRET},
        {"accessToken": SECRET},
        {"Authorization": SECRET},
        {"private_key": SECRET},
        {"code": SECRET},
        {"set-cookie": SECRET},
        {"held": SecretText(SECRET)},
        {"held": SecretBytes(SECRET.encode())},
        {"held": SECRET.encode()},
        {"headers": {"Authorization": SECRET}},
        {"deep": [{"deeper": ({"secret": SECRET},)}]},
        {"header": f"Authorization: Bearer {SECRET}"},
        {"header": f"Basic {SECRET}"},
        {"url": f"postgresql://ddsd:{SECRET}@db.example.org/ddsd"},
        {"query": f"token={SECRET}&x=1"},
        {"text": f'{{"password": "{SECRET}"}}'},
        {"why": ValueError(f"password='{SECRET}' is wrong")},
    ],
)
def test_a_secret_is_masked(stream: io.StringIO, facts: dict[str, object]) -> None:
    structlog.get_logger().info("something", **facts)
    assert "something" in stream.getvalue()
    assert "***" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_what_is_no_secret_is_readable(stream: io.StringIO) -> None:
    structlog.get_logger().info("something", status_code=404, path="/api/v1/motd", why="no route")
    for shown in ("404", "/api/v1/motd", "no route"):
        assert shown in stream.getvalue()


def test_a_traceback_shows_no_local_variable(stream: io.StringIO) -> None:
    held = SECRET
    try:
        raise RuntimeError(f"password={held}")
    except RuntimeError:
        structlog.get_logger().exception("failed")
        logging.getLogger("some.library").exception("failed, token=%s", held)
    assert stream.getvalue().count("Traceback") == 2
    assert SECRET not in stream.getvalue()


def test_libraries_take_the_same_way_out(stream: io.StringIO) -> None:
    for name in ("uvicorn.error", "litestar", "sqlalchemy.engine", "apscheduler.scheduler"):
        logging.getLogger(name).info("chat from %s", name)
        logging.getLogger(name).error("trouble in %s", name)
        assert stream.getvalue().count(f"trouble in {name}") == 1
    assert "chat" not in stream.getvalue()


def test_a_library_that_had_a_way_out_of_its_own_loses_it(restored: None) -> None:
    library, own, ours = logging.getLogger("some.library"), io.StringIO(), io.StringIO()
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    library.setLevel(logging.DEBUG)
    log.configure("info", LogFormat.JSON, ours)
    library.info("chat")
    library.error("trouble")
    assert own.getvalue() == ""
    assert [json.loads(line)["event"] for line in ours.getvalue().splitlines()] == ["trouble"]


def test_a_level_keeps_lesser_lines_out(restored: None) -> None:
    stream = io.StringIO()
    log.configure("warning", LogFormat.JSON, stream)
    structlog.get_logger().info("little")
    structlog.get_logger().warning("much")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["much"]


@given(some.text())
def test_a_text_of_any_kind_stays_one_line_of_json(text: str) -> None:
    masked = log.mask_secrets(None, "info", {"event": "x", "text": text})
    assert "\n" not in json.dumps(masked, ensure_ascii=False)


def test_a_request_is_one_line_without_its_query(start: Start) -> None:
    daemon = start(ODD).ready()
    with daemon.public() as public:
        answer = public.get("/known%0Aforged", params={"token": SECRET})
    (line,) = daemon.requests(1)
    assert line["path"] == "/known%0Aforged"
    assert line["method"] == "GET"
    assert line["status"] == answer.status_code == 404
    assert line["plane"] == "public"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert isinstance(line["ms"], float)
    assert SECRET not in daemon.log


def test_a_request_names_who_asked_and_only_then(start: Start) -> None:
    daemon = start(ODD).ready()
    with daemon.public() as public:
        public.get("/known")
        public.get("/nowhere")
    first, second = daemon.requests(2)
    assert first["actor"] == "user ada"
    assert "actor" not in second


def test_a_failing_request_leaves_a_traceback_and_no_secret(start: Start) -> None:
    daemon = start(ODD).ready()
    with daemon.public() as public:
        answer = public.get(
            "/broken",
            params={"code": SECRET},
            headers={"X-Password": SECRET, "Authorization": f"Bearer {SECRET}"},
        )
    assert answer.status_code == 500
    daemon.tell(signal.SIGTERM)
    daemon.exit_code()
    (failed,) = daemon.events("request.failed")
    assert "RuntimeError: no luck" in str(failed["exception"])
    (line,) = daemon.events("request")
    assert (line["status"], line["level"]) == (500, "warning")
    assert failed["request_id"] == line["request_id"]
    assert SECRET not in daemon.log
