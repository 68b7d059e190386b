"""People of the demo and their letters, arranged without a browser."""

from __future__ import annotations

import re
import time
import uuid

import httpx

from tests.e2e.instance import Instance
from tests.parts.browser import Window
from tests.world import PROJECT, VERSION, basic

_PATIENCE_S = 30.0
GOOD = "Wellen-und-Strand-7"
EVERYBODYS = "password"
"""The password of the accounts that the demo comes with."""


def link_for_new_account(demo: Instance, username: str) -> str:
    """Make an account without a password; return the link that sets it."""
    made = demo.ctl(
        "user",
        "create",
        username,
        "--name",
        f"Person {username}",
        "--email",
        f"{username}@demo.example",
        "--role",
        "researcher",
    )
    return str(made["link"])


def somebody(demo: Instance) -> str:
    """Make an account whose password is :data:`GOOD`; return its username."""
    username = a_name()
    code = link_for_new_account(demo, username).partition("#")[2]
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.port}", timeout=30) as http:
        token = re.search(r'name="_csrf_token" value="([^"]+)"', http.get("/set-password").text)
        assert token
        fields = {"_csrf_token": token[1], "code": code, "password": GOOD, "again": GOOD}
        http.post("/set-password", data=fields).raise_for_status()
    return username


def give_password(window: Window, username: str, password: str = GOOD) -> None:
    """Take the first step of a login by clicking."""
    window.go("/login")
    window.fill(Username=username, Password=password)
    window.press("Continue")


def log_in_by_clicking(window: Window, demo: Instance, username: str, password: str = GOOD) -> None:
    """Log in with a mailed code."""
    give_password(window, username, password)
    window.fill(**{"One-time_code": demo.code_of(username)})
    window.press("Log in")


def a_name() -> str:
    """Return a username that nobody has."""
    return f"person_{uuid.uuid4().hex[:8]}"


def invite(demo: Instance, address: str) -> None:
    """Invite somebody to a new project, as a unit's user does with the stock client."""
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.port}/api/v1", timeout=30) as http:
        token = log_in(http, demo, "unituser_1")
        answer = http.post(
            "/proj/create",
            headers=_headers(f"Bearer {token}"),
            json=PROJECT
            | {"users_to_add": [{"email": address, "role": "Researcher"}], "force": True},
        )
        assert answer.status_code == 200, answer.text


def ask_for_app_link(demo: Instance, username: str) -> str:
    """Ask for an authenticator app as the stock client does; return the link that was mailed."""
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.port}/api/v1", timeout=30) as http:
        token = log_in(http, demo, username, GOOD)
        asked = http.post("/user/totp/activate", headers=_headers(f"Bearer {token}"))
        asked.raise_for_status()
    return link_in(newest_letter(demo, f"{username}@demo.example", "authenticator app"))


def ask_for_mail_link(demo: Instance, username: str) -> str:
    """Ask for mailed codes as the stock client does; return the link that was mailed."""
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.port}/api/v1", timeout=30) as http:
        asked = http.post("/user/hotp/activate", headers=_headers(basic(username, GOOD)))
        asked.raise_for_status()
    return link_in(newest_letter(demo, f"{username}@demo.example", "with email"))


def log_in(http: httpx.Client, demo: Instance, username: str, password: str = EVERYBODYS) -> str:
    """Log in as the stock client does; return the session token."""
    first = http.get(
        "/user/encrypted_token", headers=_headers(basic(username, password))
    ).raise_for_status()
    second = http.request(
        "GET",
        "/user/second_factor",
        headers=_headers(f"Bearer {first.json()['token']}"),
        json={"HOTP": demo.code_of(username)},
    ).raise_for_status()
    return str(second.json()["token"])


def newest_letter(demo: Instance, address: str, subject: str) -> str:
    """Return the text of the newest letter to an address with these words in its subject.

    Some letters are written by a job, a moment after the page has answered.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while not (letters := _letters(demo, address, subject)):
        assert time.monotonic() < deadline, f"no letter about {subject!r} came to {address}"
        time.sleep(0.5)
    return str(demo.ctl("mail", "show", str(max(letters)))["text"])


def _letters(demo: Instance, address: str, subject: str) -> list[int]:
    return [
        one["id"]
        for one in demo.ctl("mail", "ls")
        if one["recipient"] == address and subject in one["subject"]
    ]


def link_in(letter: str) -> str:
    """Return the link with a secret in a letter."""
    return next(word for word in letter.split() if word.startswith("http") and "#" in word)


def _headers(authorization: str) -> dict[str, str]:
    return {"X-CLI-Version": VERSION, "Authorization": authorization}
