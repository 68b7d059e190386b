"""The manual pages and completions, as they are made for the packages: complete, and read by those they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
import typer
from typer.core import TyperGroup

from ddsctl.app import app
from tests.appliance.conftest import CHECKOUT
from tests.parts import absent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `man` and `completions`."""
    directory = tmp_path_factory.mktemp("manual")
    subprocess.run(
        [sys.executable, CHECKOUT / "packaging/manual.py", directory],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        check=True,
    )
    return directory


def plain(page: Path) -> str:
    """Return a page's text without what roff needs."""
    return page.read_text().replace("\\-", "-").replace("\\(dq", '"').replace("\\e", "\\")


def commands(called: str, command: Any) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands(f"{called} {name}", one)
    else:
        yield called


def test_every_command_of_ddsctl_has_its_place(made: Path) -> None:
    pages = {page.name: plain(page) for page in (made / "man").iterdir()}
    for command in commands("ddsctl", typer.main.get_command(app)):
        group = command.split()[1]
        page = pages.get(f"ddsctl-{group}.1", pages["ddsctl.1"])
        assert f'.SS "{command}' in page, command


def test_every_setting_has_its_place(made: Path) -> None:
    page = plain(made / "man/ddsd.toml.5")
    reference = tomllib.loads((CHECKOUT / "config/ddsd.toml").read_text())
    for section, keys in reference.items():
        assert f'.SH "[{section}]"' in page
        for key in keys:
            assert re.search(rf"^\\fB{key} = ", page, re.MULTILINE), key


def test_no_page_refers_to_one_that_is_not_there(made: Path) -> None:
    there = {page.name for page in (made / "man").iterdir()}
    for page in (made / "man").iterdir():
        named = re.findall(r"\b(dds[\w.-]*)(?:\\fR)?\((\d)\)", plain(page))
        assert {f"{name}.{section}" for name, section in named} <= there


def test_no_line_of_text_is_taken_for_a_command_of_roff(made: Path) -> None:
    known = re.compile(r"\.(TH|SH|SS|TP|TQ|PP)\b")
    for page in (made / "man").iterdir():
        odd = [line for line in page.read_text().splitlines() if line.startswith((".", "'"))]
        assert [line for line in odd if not known.match(line)] == []


def test_the_completion_is_good_bash(made: Path) -> None:
    checked = subprocess.run(["bash", "-n", made / "completions/bash/ddsctl"], check=False)
    assert checked.returncode == 0
    assert "complete" in (made / "completions/fish/ddsctl.fish").read_text()


def test_zsh_completes_at_the_first_try_and_registers_nothing_more(made: Path) -> None:
    lines = (made / "completions/zsh/_ddsctl").read_text().splitlines()
    assert lines[0] == "#compdef ddsctl"
    assert lines[-1] == '_ddsctl_completion "$@"'
    assert not [line for line in lines if line.startswith("compdef")]


@pytest.mark.slow
def test_fish_and_zsh_complete_a_command(made: Path) -> None:
    if lacking := [shell for shell in ("fish", "zsh") if not shutil.which(shell)]:
        absent("shells", f"not on PATH: {', '.join(lacking)}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    asked = 'source $argv[1]; complete --do-complete "ddsctl maint"'
    fish: list[str | Path] = [
        "fish",
        "--no-config",
        "-c",
        asked,
        made / "completions/fish/ddsctl.fish",
    ]
    told = subprocess.run(
        fish, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("maintenance")
    zsh = pexpect.spawn(
        "zsh", ["-f", "-i"], env=os.environ | {"PATH": path, "TERM": "dumb"}, encoding="utf-8"
    )
    zsh.sendline(
        f"fpath=({made}/completions/zsh $fpath); autoload -U compinit; compinit -u -D; echo rea''dy"
    )
    zsh.expect_exact("ready")
    zsh.send("ddsctl maint\t")
    zsh.expect_exact("maintenance")
    zsh.close(force=True)
