"""The projects page by clicking: a unit admin takes back what a deadline has archived."""

from __future__ import annotations

import sqlite3
import time

import httpx
import pytest

from tests.browser.people import EVERYBODYS, log_in, log_in_by_clicking
from tests.e2e.instance import Instance
from tests.parts.browser import Window
from tests.world import PROJECT, VERSION

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]

PATIENCE_S = 30.0


@pytest.fixture
def hidden(demo: Instance) -> str:
    """A project that its deadline has archived, and whose data is kept for a while."""
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.port}/api/v1", timeout=30) as http:
        token = log_in(http, demo, "unituser_1")
        headers = {"X-CLI-Version": VERSION, "Authorization": f"Bearer {token}"}
        made = http.post("/proj/create", headers=headers, json=PROJECT | {"force": True})
        project = str(made.raise_for_status().json()["project_id"])
    demo.ctl("project", "release", project)
    demo.ctl("project", "expire", project)
    with sqlite3.connect(demo.directory / "ddsd.sqlite3", timeout=PATIENCE_S) as database:
        database.execute(
            "UPDATE projects SET deadline = '2026-01-01 23:59:59' WHERE public_id = ?", (project,)
        )
    database.close()
    give_up = time.monotonic() + PATIENCE_S
    while demo.ctl("project", "show", project)["project"]["purge_after"] is None:
        assert time.monotonic() < give_up, "the deadline was not followed"
        demo.ctl("lifecycle", "run")
    return project


def test_an_archived_project_is_taken_back(window: Window, demo: Instance, hidden: str) -> None:
    log_in_by_clicking(window, demo, "unitadmin_1", EVERYBODYS)
    assert "data is kept until" in window.text
    window.inspect("projects-archived")
    window.go(f"/projects/{hidden}/restore")
    assert window.heading == f"Restore {hidden}"
    window.inspect("restore-project")
    window.press("Restore it")
    assert window.path == "/projects"
    assert demo.ctl("project", "show", hidden)["project"]["status"] == "Expired"


def test_a_researcher_is_told_that_it_is_not_theirs_to_do(
    window: Window, demo: Instance, hidden: str
) -> None:
    log_in_by_clicking(window, demo, "researchuser_1", EVERYBODYS)
    window.go(f"/projects/{hidden}/restore")
    window.trouble.clear()  # the browser notes the 403
    assert window.heading == "You may not do this"
    window.inspect("restore-refused")
    window.go("/recovery-kit")
    window.trouble.clear()
    assert window.heading == "You may not do this"
