"""ddsctl store check: how the last check is shown, and what a script can tell from it."""

from __future__ import annotations

from typing import Any

import pytest

from ddsd.files.tables import StoreCheckResult
from ddsd.jobs.schedule import EVERYTHING
from ddsd.storage.check.catalogue import CHECKS
from ddsd.storage.check.outcome import Verdict
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.ctl.conftest import Ctl


def checked(plane: AdminPlane, *verdicts: Verdict) -> None:
    """Say what came of the first checks."""

    async def kept(work: Work) -> None:
        for position, (check, verdict) in enumerate(zip(CHECKS, verdicts, strict=False)):
            work.session.add(
                StoreCheckResult(
                    subject=EVERYTHING,
                    name=check.name,
                    position=position,
                    verdict=verdict,
                    seen=f"seen \x1b[31m{position}",
                    seconds=0.5,
                    checked_at=work.now,
                )
            )

    plane.work(kept)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((Verdict.PASSED, Verdict.PASSED, Verdict.NOT_TRIED), 0),
        ((Verdict.PASSED, Verdict.WARNING), 1),
        ((Verdict.PASSED, Verdict.WARNING, Verdict.FAILED), 2),
        ((Verdict.FAILED,), 2),
    ],
)
def test_exit_code_is_that_of_the_worst(
    plane: AdminPlane, ctl: Ctl, verdicts: tuple[Verdict, ...], code: int
) -> None:
    checked(plane, *verdicts)
    assert ctl("store", "check", "--last").code == code
    shown: Any = ctl("store", "check", "--last", "--json")
    assert (shown.code, [one["verdict"] for one in shown.json]) == (code, list(verdicts))


def test_what_failed_says_what_it_means_and_what_to_do(plane: AdminPlane, ctl: Ctl) -> None:
    checked(plane, Verdict.PASSED, Verdict.WARNING)
    shown = ctl("store", "check", "--last").out
    assert "clock: warning\n" in shown
    flat = " ".join(shown.split())
    assert CHECKS[1].meaning in flat
    assert CHECKS[1].remedy in flat
    assert CHECKS[0].remedy not in flat
    assert "1 passed, 1 warnings, 0 failed, 0 not tried." in shown
    assert "\x1b" not in shown


def test_programs_get_every_field(plane: AdminPlane, ctl: Ctl) -> None:
    checked(plane, Verdict.FAILED)
    head, row = ctl("store", "check", "--last", "--tsv").out.splitlines()
    told = dict(zip(head.split("\t"), row.split("\t"), strict=True))
    assert (told["check"], told["verdict"], told["seconds"]) == ("answers", "failed", "0.5")
    assert told["remedy"] == CHECKS[0].remedy


def test_store_that_was_never_checked_is_told(ctl: Ctl) -> None:
    never = ctl("store", "check", "--last")
    assert (never.code, never.out, never.err) == (0, "", "This store was never checked.\n")
    unknown = ctl("store", "check", "nowhere")
    assert unknown.code == 65
