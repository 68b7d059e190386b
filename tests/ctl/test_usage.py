"""What an operator types about quotas, usage and statistics."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ddsd.projects.tables import Project
from ddsd.usage.bytehours import Month
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_project, a_unit
from tests.ctl.conftest import Ctl
from tests.usage.records import a_version

LAST = Month.of(datetime.now(UTC)).preceding()


@pytest.fixture
def facility(plane: AdminPlane) -> AdminPlane:
    """A unit over its warning level, with a project that has stored a GB for a day of last month."""

    async def arrange(work: Work) -> None:
        unit = await a_unit(
            work.session,
            public_id="genomics",
            name="Genomics",
            quota_bytes=1000,
            contact_email="unit@example.org",
        )
        fields = {"title": "Fern", "bytes_stored": 900, "created_at": LAST.start}
        project = await a_project(work.session, unit, **fields)
        a_version(work, project, 10**9, LAST.start, LAST.start + timedelta(days=1))

    plane.work(arrange)
    return plane


@pytest.mark.usefixtures("facility")
class TestUnits:
    """``ddsctl unit``, ``ddsctl status``."""

    def test_a_unit_is_shown_with_what_it_uses_of_its_quota(self, ctl: Ctl) -> None:
        shown = dict(
            line.split("  ", 1) for line in ctl("unit", "show", "genomics").out.splitlines()
        )
        assert shown["used"].strip() == "90% !"
        assert shown["over the quota"].strip() == "refused"
        assert ctl("unit", "ls").out.splitlines()[1].split()[-2:] == ["90%", "!"]
        assert ctl("unit", "show", "nowhere").code == 65

    def test_a_unit_is_changed_after_a_dry_run(self, ctl: Ctl) -> None:
        words = ("unit", "update", "genomics", "--name", "Core", "--days-expired", "14")
        dry = ctl(*words, "--dry-run")
        assert "Nothing was changed" in dry.err
        done = ctl(*words)
        assert dry.out == done.out
        assert [" ".join(line.split()) for line in done.out.splitlines()[1:]] == [
            "name Genomics Core",
            "days_in_expired 30 14",
        ]
        assert "That is how it is already." in ctl(*words).err

    def test_what_does_not_fit_is_named_as_it_is_typed(self, ctl: Ctl) -> None:
        ended = ctl("unit", "update", "genomics", "--contact", "nobody", "--days-available", "91")
        assert ended.code == 65
        assert "--contact is no e-mail address" in ended.err
        assert "--days-available must be from 1 to 90 days." in ended.err
        assert ctl("unit", "quota", "genomics", "much").code == 2

    def test_a_quota_is_changed(self, ctl: Ctl) -> None:
        assert ctl("unit", "quota", "genomics", "2TB", "--warn-at", "0.5", "--warn-only").code == 0
        shown = ctl("unit", "show", "genomics", "--json").json
        assert isinstance(shown, dict)
        assert (shown["quota_bytes"], shown["warning_level"], shown["quota_enforced"]) == (
            2 * 10**12,
            0.5,
            False,
        )
        assert shown["name"] == "Genomics"

    def test_who_is_over_the_level_is_warned_once(self, ctl: Ctl) -> None:
        assert "genomics" in ctl("unit", "check-quotas", "--dry-run").out
        assert ctl("mail", "ls", "--json").json == []
        assert "genomics" in ctl("unit", "check-quotas").out
        assert "There is nobody to warn." in ctl("unit", "check-quotas").err
        assert "unit@example.org" in ctl("mail", "ls").out

    def test_the_status_names_who_is_over_the_level(self, ctl: Ctl) -> None:
        assert "genomics has 90% of 1.0 kB in use" in ctl("status").out


@pytest.mark.usefixtures("facility")
class TestUsage:
    """``ddsctl usage``."""

    def test_usage_is_shown_before_and_after_it_is_written_down(self, ctl: Ctl) -> None:
        for month in ((), ("--month", str(LAST))):
            shown = ctl("usage", "show", "--unit", "genomics", *month)
            assert "24.00 GB·h" in shown.out
        assert ctl("usage", "export").code == 65
        dry = ctl("usage", "collect", "--dry-run", "--json").json
        assert ctl("usage", "collect", "--json").json == dry
        assert isinstance(dry, list)
        assert [one["month"] for one in dry] == [str(LAST)]
        assert "24.00 GB·h" in ctl("usage", "show").out
        assert "Every month that is over is written down." in ctl("usage", "collect").err

    def test_a_month_that_cannot_be_exported_says_why_and_when(self, ctl: Ctl) -> None:
        ctl("usage", "collect")
        this = LAST.following()
        refused = ctl("usage", "export", "--from", str(this))
        assert refused.code == 65
        assert f"{this} is not over" in refused.err
        assert f"ddsctl usage show --month {this}" in refused.err
        swapped = ctl("usage", "export", "--from", str(LAST), "--to", str(LAST.preceding()))
        assert (swapped.code, "is before the first" in swapped.err) == (65, True)
        nothing = ctl("usage", "export", "--from", str(LAST.preceding().preceding()))
        assert (nothing.code, len(nothing.out.splitlines())) == (0, 1)

    def test_months_that_were_missed_are_caught_up_with_one_request_each(
        self, ctl: Ctl, plane: AdminPlane
    ) -> None:
        earlier = LAST.preceding().preceding()

        async def arrange(work: Work) -> None:
            project = (await work.session.scalars(select(Project))).one()
            project.created_at = earlier.start

        plane.work(arrange)
        dry: Any = ctl("usage", "collect", "--dry-run", "--json").json
        assert [one["month"] for one in dry] == [
            str(earlier),
            str(LAST.preceding()),
            str(LAST),
        ]
        assert ctl("usage", "collect", "--json").json == dry

    def test_what_is_written_down_is_exported(self, ctl: Ctl) -> None:
        ctl("usage", "collect")
        head, line = csv.reader(ctl("usage", "export").out.splitlines())
        exported = dict(zip(head, line, strict=True))
        assert exported["unit"] == "genomics"
        assert exported["month"] == str(LAST)
        assert exported["title"] == "Fern"
        assert float(exported["byte-hours"]) == 24 * 10**9
        same = ctl("usage", "export", "--from", str(LAST), "--json").json
        assert isinstance(same, list)
        assert [one["byte_hours"] for one in same] == [24 * 10**9]

    def test_what_is_written_down_is_sent(self, ctl: Ctl) -> None:
        ctl("usage", "collect")
        before = ctl("mail", "ls", "--json").json
        assert f"genomics_usage_{LAST}.csv" in ctl("usage", "send", "--dry-run").out
        assert ctl("mail", "ls", "--json").json == before
        assert f"genomics_usage_{LAST}.csv" in ctl("usage", "send", "--to", "a@example.org").out
        assert "a@example.org" in ctl("mail", "ls").out
        assert ctl("usage", "send", "--months", "13").code == 2

    def test_what_is_no_month_is_refused(self, ctl: Ctl) -> None:
        for words in (("show", "--month", "May"), ("export", "--from", "2026-13")):
            ended = ctl("usage", *words)
            assert ended.code == 65
            assert "is no month" in ended.err


@pytest.mark.usefixtures("facility")
def test_statistics_are_counted_and_listed(ctl: Ctl) -> None:
    dry = ctl("stats", "collect", "--dry-run", "--json").json
    assert isinstance(dry, dict)
    assert (dry["units"], dry["bytes_stored"], dry["bytes_uploaded"]) == (1, 900, 10**9)
    assert ctl("stats", "collect").code == 0
    assert len(ctl("stats", "ls", "--tsv").out.splitlines()) == 2


def test_the_store_is_shown_as_it_is_configured(ctl: Ctl, plane: AdminPlane) -> None:
    shown = ctl("store", "show", "--json").json
    assert isinstance(shown, dict)
    assert (shown["kind"], shown["answers"], shown["problem"]) == ("embedded", True, "")
    assert shown["directory"] == str(plane.services.settings.store_directory)
    plane.store.away = True
    ended = ctl("store", "show", "--json")
    assert ended.code == 69
    away = ended.json
    assert isinstance(away, dict)
    assert away["answers"] is False
    assert away["problem"]


def test_in_its_first_month_a_service_exports_a_head_and_no_lines(ctl: Ctl) -> None:
    ended = ctl("usage", "export")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    assert ended.out.startswith("unit,month,project")
