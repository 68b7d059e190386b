"""People of the demo and their letters, arranged without a browser."""

from __future__ import annotations

import httpx

from tests.e2e.instance import Instance
from tests.world import PROJECT, VERSION, basic

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


def log_in(http: httpx.Client, demo: Instance, username: str) -> str:
    """Log in as the stock client does; return the session token."""
    first = http.get(
        "/user/encrypted_token", headers=_headers(basic(username, EVERYBODYS))
    ).raise_for_status()
    second = http.request(
        "GET",
        "/user/second_factor",
        headers=_headers(f"Bearer {first.json()['token']}"),
        json={"HOTP": demo.code_of(username)},
    ).raise_for_status()
    return str(second.json()["token"])


def newest_letter(demo: Instance, address: str, subject: str) -> str:
    """Return the text of the newest letter to an address with these words in its subject."""
    letters = [
        one
        for one in demo.ctl("mail", "ls")
        if one["recipient"] == address and subject in one["subject"]
    ]
    newest = max(one["id"] for one in letters)
    return str(demo.ctl("mail", "show", str(newest))["text"])


def _headers(authorization: str) -> dict[str, str]:
    return {"X-CLI-Version": VERSION, "Authorization": authorization}
