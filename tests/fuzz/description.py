"""What the stock wire takes and answers, as OpenAPI: made from the routes that are served, for generating requests.

The original has no such description. Any JSON may be sent anywhere; the words and values that handlers look for are
offered so that requests come past the first check.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from litestar import Litestar

Json = dict[str, Any]

STATUSES: Final = {
    200: "It was done.",
    400: "What was sent cannot be used.",
    401: "Nobody is logged in, or not completely.",
    403: "It is not allowed.",
    429: "Too many attempts.",
    503: "Something is away, or the service is closed.",
}
"""All that the wire contract's section 0.3 knows for an address and method that exist, and no 500."""

PROJECT, NAMES, ADDRESSES = (
    "{project}",
    ["a.txt", "d/b.txt", "d", "."],
    ["{person}", "new@example.org"],
)
# No schema here holds a value of the others: where one does, the values are forgotten for the schema.
_ODD: Final[list[Json]] = [
    {"type": "string", "pattern": "^~[\\s\\S]{0,15}$"},
    {"type": "integer", "minimum": 1000},
    {"type": "integer", "maximum": -1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": ["null", "boolean"]},
    {"type": "array", "items": {"type": ["string", "integer", "null"]}, "maxItems": 3},
    {"type": "object", "maxProperties": 3},
]
_VALUES: Final[dict[str, list[Any]]] = {
    "new_status": ["Available", "In Progress", "Expired", "Archived", "Deleted"],
    "deadline": [1, 90, 0],
    "new_deadline_in": [1, 90],
    "confirmed": [True, False],
    "send_email": [True, False],
    "is_aborted": [True, False],
    "email": ADDRESSES,
    "role": ["Researcher", "Project Owner", "Unit Personnel", "Unit Admin", "Super Admin"],
    "unit": ["unit1", "unit2"],
    "action": ["deactivate", "reactivate"],
    "is_invite": [True, False],
    "username": ["researcher1", "staff1"],
    "title": ["A title"],
    "description": ["What it is"],
    "pi": ["pi@example.org"],
    "non_sensitive": [True],
    "force": [True],
    "users_to_add": [[{"email": "new@example.org", "role": "Researcher"}]],
    "message": ["Closed on Sunday."],
    "motd_id": [1, 2],
    "unit_only": [True, False],
    "state": ["off"],
    "HOTP": ["12345678"],
    "TOTP": ["123456"],
    "usage": [True],
    "show_all": [True],
    "history": [True],
    "list": [True],
    "show_size": [True],
    "subpath": ["d", None],
    "name": NAMES,
    "name_in_bucket": ["key"],
    "size": [5],
    "size_processed": [5],
    "compressed": [True],
    "salt": ["A" * 32],
    "public_key": ["B" * 64],
    "checksum": ["c" * 64],
}
_IN_QUERY: Final = [
    "history",
    "show_size",
    "subpath",
    "list",
    "unit",
    "username",
    "email",
    "is_invite",
]


def describe(app: Litestar, edition: str) -> Json:
    """Return the description of one edition of the stock wire."""
    paths: dict[str, Json] = {}
    for path, method in _served(app, f"/api/{edition}/"):
        paths.setdefault(path, {})[method.lower()] = _operation(method, path)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"the stock wire, {edition}", "version": "2"},
        "paths": paths,
    }


def _served(app: Litestar, prefix: str) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if route.path.startswith(prefix):
            for method in sorted({*route.methods} - {"OPTIONS"}):
                yield route.path, method


def _operation(method: str, path: str) -> Json:
    answer = {"content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "operationId": f"{method} {path}",
        "parameters": [_parameter("project", [PROJECT]), *_lists(), *_words()],
        "requestBody": {"required": False, "content": {"application/json": {"schema": _body()}}},
        "responses": {
            str(status): {"description": meaning} | answer for status, meaning in STATUSES.items()
        },
    }


def _body() -> Json:
    known: Json = {name: {"enum": values} for name, values in _VALUES.items()}
    doubtful = {name: _one_of(values) for name, values in _VALUES.items()}
    return {
        "anyOf": [
            {"type": "object", "properties": known, "required": sorted(known)},
            {"type": "object", "properties": doubtful, "required": sorted(known)},
            {"type": "object", "properties": doubtful},
            {"type": "array", "items": _one_of(NAMES), "maxItems": 3},
            {"type": ["null", "boolean", "number", "string"]},
        ]
    }


def _lists() -> list[Json]:
    schema = {"type": "array", "items": _one_of(NAMES), "maxItems": 3}
    return [{"name": name, "in": "query", "schema": schema} for name in ("files", "folders")]


def _words() -> list[Json]:
    return [_parameter(name, [str(value) for value in _VALUES[name]]) for name in _IN_QUERY]


def _parameter(name: str, values: list[str]) -> Json:
    schema = {"anyOf": [*({"const": value} for value in values), _ODD[0]]}
    return {"name": name, "in": "query", "schema": schema, "required": name == "project"}


def _one_of(values: list[Any]) -> Json:
    return {"anyOf": [*({"const": value} for value in values), *_ODD]}
