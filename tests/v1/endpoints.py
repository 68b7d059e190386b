"""The endpoints of accounts, projects and operation, for tests that go through all of them."""

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
    ("PATCH", "/proj/status"),
    ("PUT", "/proj/info"),
]
OF_PROJECT_SCHEMA: Final = [
    ("GET", "/proj/private"),
    ("GET", "/proj/users"),
    ("POST", "/proj/upload/complete"),
    ("DELETE", "/proj/rm"),
]
TAKING_PATHS: Final = [("DELETE", "/file/rm"), ("DELETE", "/file/rmdir")]
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
OPERATING: Final = [
    ("POST", "/motd"),
    ("PUT", "/motd"),
    ("POST", "/motd/send"),
    ("GET", "/maintenance"),
    ("PUT", "/maintenance"),
    ("GET", "/unit/info/all"),
    ("GET", "/stats"),
    ("GET", "/usage"),
    ("PUT", "/proj/busy"),
    ("GET", "/proj/busy/any"),
]
WITH_SESSION: Final = WITHOUT_PROJECT + OF_PROJECT + TAKING_PATHS + PEOPLE + OPERATING
EVERY: Final = PUBLIC + LOGIN + WITH_SESSION


def name(endpoint: tuple[str, str]) -> str:
    """Return how a test's id shows an endpoint."""
    return " ".join(endpoint)
