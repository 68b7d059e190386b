"""Made-up facts for every kind of letter: what previews show, and what tests render.

Invariant: each kind of :func:`ddsd.mail.render.kinds` has a sample, and each fact of it is in the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsd.errors import NotFound
from ddsd.mail.render import Fact, Rendered, common_facts, render
from ddsd.settings import Settings

_CODE: Final = "c2FtcGxlLXNlY3JldC10aGF0LW9wZW5zLW5vdGhpbmc"
_WHY: Final = "The database does not answer."

SAMPLES: Final[Mapping[str, Mapping[str, Fact]]] = {
    "one_time_code": {"code": "01234567", "minutes": "15"},
    "set_password": {"link": f"/set-password#{_CODE}", "hours": "72", "username": "kim"},
    "invite": {
        "link": f"/register#{_CODE}",
        "inviter": "Genomics Unit",
        "days": "7",
        "unit_contact": "genomics@example.org",
    },
    "project_released": {
        "title": "Fern genome",
        "public_id": "unit00001",
        "unit": "Genomics Unit",
        "unit_contact": "genomics@example.org",
        "deadline": "2026-11-29 23:59:59 UTC",
    },
    "project_archived": {
        "title": "Fern genome",
        "public_id": "unit00001",
        "until": "2026-12-06 00:01 UTC",
    },
    "recovery_kit": {
        "happened": "A recovery kit was made",
        "unit": "Genomics Unit",
        "person": "Kim Sample",
        "advice": "Ask them where the paper is kept.",
    },
    "activate_app": {"link": f"/activate-app#{_CODE}", "hours": "1", "username": "kim"},
    "activate_mail": {"link": f"/activate-mail#{_CODE}", "hours": "1", "username": "kim"},
    "confirm_deletion": {
        "link": f"/confirm-deletion#{_CODE}",
        "days": "7",
        "username": "kim",
        "projects": "unit00001, unit00002",
    },
    "reset_password": {"link": f"/reset-password#{_CODE}", "hours": "1", "username": "kim"},
    "confirm_email": {"link": f"/confirm-email#{_CODE}", "hours": "1", "username": "kim"},
    "email_taken": {"email": "kim@example.org", "username": "kim"},
    "email_changed": {"email": "kim@new.example.org", "username": "kim"},
    "access_lost_admin": {"name": "Kim Sample", "email": "kim@example.org"},
    "password_changed": {"username": "kim"},
    "second_factor_changed": {"username": "kim", "now": "an authenticator app"},
    "second_factor_reset": {"username": "kim"},
    "security_notice": {"username": "kim", "change": "The passkey “Laptop” was added."},
    "recovery_code_used": {"username": "kim", "left": "9"},
    "motd": {"text": "On Sunday the service is closed from 8:00 to 10:00 UTC."},
    "deadline_reminder": {
        "title": "Fern genome",
        "public_id": "unit00001",
        "unit": "Genomics Unit",
        "unit_contact": "genomics@example.org",
        "deadline": "2026-11-29 23:59:59 UTC",
        "when": "in 7 days",
        "missing": "12 of 40 files",
    },
    "deadlines_summary": {
        "unit": "Genomics Unit",
        "projects": [
            {
                "title": "Fern genome",
                "public_id": "unit00001",
                "deadline": "2026-11-29 23:59:59 UTC",
                "when": "in 7 days",
                "missing": "kim@example.org (28 of 40 files)",
            },
            {
                "title": "Moss genome",
                "public_id": "unit00002",
                "deadline": "2026-11-23 23:59:59 UTC",
                "when": "tomorrow",
                "missing": "nobody: all have downloaded everything",
            },
        ],
    },
    "deadlines_held": {
        "projects": [
            {
                "project": "unit00001",
                "since": "2026-11-29",
                "why": "1 letter about it not delivered: see ddsctl mail ls",
            }
        ],
        "more": "3",
    },
    "usage_available": {"month": "2026-11"},
    "usage_failed": {"month": "2026-11", "why": _WHY},
    "usage_sent": {"month": "2026-11", "units": "unit1, unit2"},
    "quota_warning": {
        "unit": "Genomics Unit",
        "quota": "100.0 TB",
        "level": "80.0 TB",
        "usage": "81.2 TB",
    },
    "statistics_failed": {"why": _WHY},
}


def preview(settings: Settings, kind: str) -> Rendered:
    """Render a letter of this kind with made-up facts; its links lead to this service and open nothing.

    Raises:
        NotFound: there is no such kind.
    """
    if kind not in SAMPLES:
        raise NotFound(f"There is no letter '{kind}'. There are: {', '.join(sorted(SAMPLES))}.")
    common = common_facts(settings)
    facts = dict(SAMPLES[kind])
    if "link" in facts:
        facts["link"] = f"{common['public_url']}{facts['link']}"
    return render(kind, common | facts)
