"""Values no database takes, at the admin plane: refused, never an error of the daemon's own."""

from __future__ import annotations

import httpx
import pytest

from tests.admin.serving import AdminPlane

HUGE = 10**30


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/jobs/{HUGE}", None),
        ("POST", f"/jobs/{HUGE}/retry", None),
        ("GET", f"/mails/{HUGE}", None),
        ("DELETE", f"/sessions/{HUGE}", None),
        ("POST", "/jobs", '{"kind": "a\\u0000"}'),
        ("POST", "/jobs", '{"kind": "end_project"}'),
        ("POST", f"/motds/{HUGE}/deactivate", None),
        ("POST", f"/motds/{HUGE}/send", '{"unit_only": false, "dry_run": true}'),
        ("GET", "/usage?month=0000-00", None),
        ("GET", "/usage?month=9999-12", None),
        ("GET", "/usage/months?first=9999-12", None),
        ("GET", "/usage?month=%D9%A2%D9%A0%D9%A2%D9%A6-01", None),
        ("POST", "/usage/send", f'{{"months": {HUGE}}}'),
        ("POST", "/usage/send", '{"months": 3, "to": "a@b.example\\r\\nBcc: c@d.example"}'),
        ("POST", "/lost/clean", f'{{"project": null, "after": {HUGE}}}'),
        ("DELETE", "/lost/buckets/..", None),
        ("DELETE", "/lost/buckets/%00", None),
        ("DELETE", "/lost/buckets/a%00b", None),
        ("GET", "/lost?project=a%00b", None),
        ("POST", "/projects/nope/import-log", '{"log": {"a": ' + "[" * 400 + "]" * 400 + "}}"),
        ("POST", "/projects/nope/import-log", '{"log": {"a": ' + "[" * 90000 + "]" * 90000 + "}}"),
        ("POST", "/projects/nope/import-log", '{"log": {"\\ud800": {}}}'),
        ("POST", "/projects/a%00b/import-log", '{"log": {}}'),
    ],
)
def test_a_value_no_database_takes_is_refused(
    plane: AdminPlane, method: str, path: str, body: str | None
) -> None:
    transport = httpx.HTTPTransport(uds=str(plane.socket))
    with httpx.Client(transport=transport, base_url="http://ddsd/1") as http:
        headers = {"Content-Type": "application/json"} if body else None
        answer = http.request(method, path, content=body, headers=headers)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert "no such command" not in answer.text, answer.text
