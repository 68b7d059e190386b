"""No command or option of the stock client is forgotten: not by the tests, and not by docs/compatibility.md."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from ddsd.planes.v1 import router
from tests.e2e.commands import EXERCISES, HELP, Exercise, exercised_by, given_to

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "compatibility.md"
LISTING: Final = """
import json, sys
sys.argv = ["dds", "motd"]  # else the client asks its service for messages before it does anything
import click, click.testing
from dds_cli.__main__ import dds_main

def walk(command, words):
    shown = click.testing.CliRunner().invoke(dds_main, [*words[1:], "--help"])
    assert shown.exit_code == 0, shown.output
    context = click.Context(command, info_name=words[-1])
    yield " ".join(words), {
        "group": isinstance(command, click.Group),
        "options": [
            [*one.opts, *one.secondary_opts]
            for one in command.get_params(context) if one.param_type_name == "option"
        ],
        "arguments": [one.name for one in command.params if one.param_type_name == "argument"],
        "help": shown.output,
    }
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walk(inner, [*words, name])

print(json.dumps(dict(walk(dds_main, ["dds"]))))
"""
"""Run by the stock client's own interpreter: what there is, and what `--help` shows of it."""


@pytest.fixture(scope="module")
def listed(stock_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every command and group of the installed client."""
    done = subprocess.run(
        [stock_python, "-c", LISTING],
        capture_output=True,
        text=True,
        check=False,
        env={
            "HOME": str(tmp_path_factory.mktemp("home")),
            "DDS_CLI_ENV": "development",
            "COLUMNS": "200",
        },
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wanted(one: dict[str, Any]) -> set[str]:
    """Return the long names of a command's options but `--help`, and its arguments in capitals."""
    longest = {max(names, key=len) for names in one["options"]}
    return (longest - {HELP}) | {name.upper() for name in one["arguments"]}


def test_every_command_and_option_is_exercised_by_a_test(listed: dict[str, Any]) -> None:
    commands = {name: one for name, one in listed.items() if wanted(one) or not one["group"]}
    assert {name: wanted(one) for name, one in commands.items()} == given_to()


def test_the_list_is_what_help_shows(listed: dict[str, Any]) -> None:
    assert len(listed) > 40
    for name, one in listed.items():
        for option in wanted(one) | {HELP}:
            assert not option.startswith("--") or option in one["help"], (name, option)
        if one["group"]:
            inner = [other for other in listed if other.rpartition(" ")[0] == name]
            assert inner
            assert all(other.rpartition(" ")[2] in one["help"] for other in inner)


@cache
def strings_of(test: str) -> frozenset[str]:
    """Return every string that a test (`file.py::function`) spells out."""
    file, _, name = test.partition("::")
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    function = next(
        one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == name
    )
    return frozenset(
        one.value
        for one in ast.walk(function)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


SHORT: Final = {"--project": "-p", "--email": "-e", "--username": "-u", "--get-all": "-a"}


@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: f"{one.command} in {one.test}")
def test_the_named_test_gives_the_command_and_the_option(one: Exercise) -> None:
    given = strings_of(one.test)
    for word in one.command.split()[1:]:
        assert word in given
    for option in one.given.split():
        if option.startswith("--"):
            assert {option, SHORT.get(option, option)} & given, option


def rows() -> list[list[str]]:
    """Return the cells of the page's table of commands."""
    table = PAGE.read_text(encoding="utf-8").partition("| command | ")[2].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code_in(cell: str) -> list[str]:
    """Return what a cell has between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_page_has_every_command_once_with_its_tests() -> None:
    named = [(code_in(row[0])[0], frozenset(code_in(row[2]))) for row in rows()]
    tests = {
        name: {test.partition("::")[2] for test in tests} for name, tests in exercised_by().items()
    }
    assert dict(named) == tests
    assert len(named) == len(tests)


def test_the_page_names_addresses_that_are_served() -> None:
    served = {
        f"{method} {route.path.removeprefix('/api/v1/')}"
        for one in router.build()
        for route in one.routes
        for method in route.methods
    }
    for row in rows():
        for endpoint in code_in(row[1]):
            method, _, path = endpoint.partition(" ")
            assert f"{method} {path}" in served, endpoint


def test_the_page_has_the_sections_its_table_points_to() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^a-z -]", "", one.lower()).replace(" ", "-") for one in headings}
    for row in rows():
        assert set(re.findall(r"\(#([^)]+)\)", row[3])) <= anchors, row[0]
