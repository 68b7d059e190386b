"""``ddsctl user ls``."""

from __future__ import annotations

from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_user
from tests.ctl.conftest import Ctl


def test_accounts_are_listed(ctl: Ctl, plane: AdminPlane) -> None:
    async def arrange(work: Work) -> None:
        await a_user(work.session, username="rolf", name="Rolf", email="rolf@example.org")

    plane.work(arrange)
    assert ctl("user", "ls", "--tsv").out.splitlines() == [
        "username\tname\temail\trole\tunit\tactive\thas password",
        "rolf\tRolf\trolf@example.org\tresearcher\t\ttrue\tfalse",
    ]


def test_no_accounts_is_a_hint_and_no_output(ctl: Ctl) -> None:
    ended = ctl("user", "ls")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("There are no accounts.")
