"""The endpoints of accounts and projects, for tests that go through all of them."""

from __future__ import annotations

from typing import Final

PUBLIC: Final = [("GET", "/motd")]
LOGIN: Final = [
    ("GET", "/user/encrypted_token"),
    ("GET", "/user/second_factor"),
    ("POST", "/user/second_factor"),
]
WITHOUT_PROJECT: Final = [("GET", "/user/info"), ("POST", "/proj/create"), ("GET", "/proj/list")]
OF_PROJECT_HELPER: Final = [
    ("GET", "/proj/info"),
    ("GET", "/proj/public"),
    ("GET", "/proj/status"),
    ("POST", "/proj/status"),
]
OF_PROJECT_SCHEMA: Final = [
    ("GET", "/proj/private"),
    ("GET", "/proj/users"),
    ("POST", "/proj/upload/complete"),
]
OF_PROJECT: Final = OF_PROJECT_HELPER + OF_PROJECT_SCHEMA
PEOPLE: Final = [
    ("POST", "/user/add"),
    ("POST", "/user/access/revoke"),
    ("POST", "/proj/access"),
    ("POST", "/user/activation"),
    ("DELETE", "/user/delete"),
    ("DELETE", "/user/delete_self"),
    ("GET", "/users"),
    ("GET", "/user/invites"),
    ("GET", "/user/find"),
    ("GET", "/user/emails"),
]
WITH_SESSION: Final = WITHOUT_PROJECT + OF_PROJECT + PEOPLE
EVERY: Final = PUBLIC + LOGIN + WITH_SESSION


def name(endpoint: tuple[str, str]) -> str:
    """Return how a test's id shows an endpoint."""
    return " ".join(endpoint)
