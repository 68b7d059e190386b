"""ddsctl as a process: quick to start, at home in a terminal, and as its reference says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pexpect
import pytest

from ddsd.db import revision
from ddsd.work import Work
from tests.admin.serving import AdminPlane
from tests.builders import a_project, a_unit
from tests.ctl.conftest import Ctl

REFERENCE = Path(__file__).parents[2] / "docs" / "ddsctl.md"
SLOW_TO_IMPORT = {"httpx", "litestar", "minio", "rich.table", "sqlalchemy", "uvicorn"}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_starting_imports_nothing_slow() -> None:
    ended = run("-c", "import sys, ddsctl.app; print(*sys.modules)")
    assert SLOW_TO_IMPORT & set(ended.stdout.split()) == set()
    assert "typer" in ended.stdout


def test_the_version_is_the_packages() -> None:
    assert run("-m", "ddsctl", "--version").stdout == f"ddsctl {version('ddsd')}\n"


def test_the_command_reference_is_current() -> None:
    made = run("-m", "typer", "ddsctl.app", "utils", "docs", "--name", "ddsctl")
    assert made.returncode == 0
    assert REFERENCE.read_text(encoding="utf-8").strip() == made.stdout.strip(), (
        "run: python -m typer ddsctl.app utils docs --name ddsctl --output docs/ddsctl.md"
    )


def test_every_command_has_an_example_that_begins_with_its_own_name() -> None:
    reference = REFERENCE.read_text(encoding="utf-8")
    sections = re.split(r"^#+ `(ddsctl[^`]*)`$", reference, flags=re.MULTILINE)[1:]
    commands = {
        name: text
        for name, text in zip(sections[::2], sections[1::2], strict=True)
        if "COMMAND [ARGS]" not in text
    }
    assert len(commands) >= 10
    for name, text in commands.items():
        example = re.search(r"^Example: (.*)$", text, flags=re.MULTILINE)
        assert example, name
        assert name in example[1]


def test_exit_codes_are_in_the_help(ctl_alone: Ctl) -> None:
    said = ctl_alone("--help").out
    for code in ("65", "69", "77"):
        assert code in said


def test_a_table_fits_a_narrow_terminal(ctl: Ctl, plane: AdminPlane) -> None:
    async def arrange(work: Work) -> None:
        unit = await a_unit(work.session, public_id="imaging")
        await a_project(work.session, unit, title="A very long title " * 10)

    plane.work(arrange)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ddsctl", "--socket", str(ctl.socket), "project", "ls"],
        dimensions=(24, 70),
        encoding="utf-8",
        env=os.environ | {"TERM": "xterm", "COLUMNS": "70"},
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.before is not None
    lines = re.sub(r"\x1b\[[0-9;]*m", "", child.before).splitlines()
    assert len(lines) > 3
    assert max(len(line) for line in lines) <= 70


def test_a_table_in_a_pipe_is_not_cut(ctl: Ctl, plane: AdminPlane) -> None:
    title = "A very long title " * 20 + "that ends here"

    async def arrange(work: Work) -> None:
        await a_project(work.session, await a_unit(work.session), title=title)

    plane.work(arrange)
    ended = ctl.process("project", "ls")
    assert title in ended.out
    assert len(ended.out.splitlines()) == 2
    assert all(line == line.rstrip() for line in ended.out.splitlines())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ddsd.toml"
    path.write_text(f'[instance]\nstate_dir = "{tmp_path / "state"}"\n', encoding="utf-8")
    return path


def test_the_database_is_upgraded_without_a_daemon(ctl_alone: Ctl, config: Path) -> None:
    ended = ctl_alone.process("db", "upgrade", "--config", str(config))
    assert (ended.code, ended.err) == (0, "")
    assert f"empty → {revision.head()}" in ended.out


def test_an_upgrade_under_a_running_daemon_asks_for_a_restart(ctl: Ctl, tmp_path: Path) -> None:
    served = tmp_path / "served.toml"
    served.write_text(f'[instance]\nstate_dir = "{tmp_path}"\n', encoding="utf-8")
    ended = ctl.process("db", "upgrade", "--config", str(served))
    assert ended.code == 0
    assert "systemctl restart ddsd" in ended.err


def test_an_upgrade_beside_another_databases_daemon_asks_for_nothing(
    ctl: Ctl, config: Path
) -> None:
    ended = ctl.process("db", "upgrade", "--config", str(config))
    assert (ended.code, ended.err) == (0, "")


def test_a_failed_upgrade_exits_as_the_migration_did(ctl_alone: Ctl, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    direct = run("-m", "ddsd", "migrate", "--config", missing)
    assert direct.returncode != 0
    assert ctl_alone.process("db", "upgrade", "--config", missing).code == direct.returncode
