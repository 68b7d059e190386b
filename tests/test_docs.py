"""The documentation tells the truth as far as a machine can see: links, commands, options, settings, paths.

What is checked is what a reader would follow or type. Prose is not.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.core import TyperGroup

from ddsctl.app import app as ddsctl
from ddsd.__main__ import app as ddsd
from ddsd.demo.run import demo_command
from ddsd.settings import ENVIRONMENT_PREFIX, Settings
from ddsd.setup.run import setup_command

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Decision records tell of what was; the reference of ddsctl is generated and has a test of its own.
GUIDES: Final = [
    page for page in PAGES if page.parent.name != "decisions" and page.name != "ddsctl.md"
]
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS: Final = frozenset(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))

_FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PATH: Final = re.compile(r"(?:ddsd|ddsctl|tests|docs|config|packaging)/[A-Za-z_][\w./-]*|\.ci/run")
_SETTING: Final = re.compile(rf"({'|'.join(Settings.model_fields)})\.(\w+)(?: = .*)?")
_VARIABLE: Final = re.compile(rf"\b{ENVIRONMENT_PREFIX}([A-Z]+)__([A-Z_]+)\b")
_PLACEHOLDER: Final = "SECTION"
_FLAGS_OF_ALL: Final = {"--help", "--version", "--json", "--tsv"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks: their language and text."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def _inline(page: Path) -> list[str]:
    return _CODE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def _typed(page: Path) -> Iterator[list[str]]:
    """Yield every command a reader is told to type, as words."""
    prompts = (
        line.strip()[2:]
        for language, text in _blocks(page)
        if language in {"console", "sh"}
        for line in text.splitlines()
        if line.strip().startswith(("$ ", "# "))
    )
    for command in (*prompts, *_inline(page)):
        try:
            words = shlex.split(command)
        except ValueError:
            continue
        yield [word for word in words if word != "sudo"]


def _commands(page: Path, program: str) -> list[list[str]]:
    return [
        words[1:]
        for words in _typed(page)
        if len(words) > 1 and words[0] == program and words[1] != "…"
    ]


def _slug(heading: str) -> str:
    """Return a heading's anchor as forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {_slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def _mistake(group: object, words: Sequence[str]) -> str:
    """Return what is wrong with a command line of a group; empty if it can be typed so."""
    known = set(_FLAGS_OF_ALL)
    command = group
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        known |= {
            option
            for one in getattr(command, "params", ())
            for option in (*one.opts, *one.secondary_opts)
        }
        if word.startswith("--"):
            if word.partition("=")[0] not in known:
                return f"there is no option {word}"
        elif isinstance(command, TyperGroup):
            if word not in command.commands:
                return f"there is no command {word}"
            command = command.commands[word]
    return ""


def _tree(program: typer.Typer, handed_on: Mapping[str, Callable[..., None]]) -> TyperGroup:
    """Return a program's commands, with those that hand their words on to applications of their own."""
    tree = typer.main.get_command(program)
    assert isinstance(tree, TyperGroup)
    for name, does in handed_on.items():
        alone = typer.Typer()
        alone.command()(does)
        tree.commands[name] = typer.main.get_command(alone)
    return tree


PROGRAMS: Final = {
    "ddsd": _tree(ddsd, {"demo": demo_command, "setup": setup_command}),
    "ddsctl": _tree(ddsctl, {"setup": setup_command}),
}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    broken = []
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", GUIDES, ids=_name)
def test_every_make_target_exists(page: Path) -> None:
    named = [word for words in _commands(page, "make") for word in words if "=" not in word]
    assert [word for word in named if word.islower() and word not in TARGETS] == []


@pytest.mark.parametrize("page", GUIDES, ids=_name)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_and_option_exists(program: str, page: Path) -> None:
    mistakes = {
        " ".join(words): mistake
        for words in _commands(page, program)
        if (mistake := _mistake(PROGRAMS[program], words))
    }
    assert not mistakes


def test_the_check_of_commands_sees_mistakes() -> None:
    assert _mistake(PROGRAMS["ddsctl"], ["mail", "shwo", "7"]) == "there is no command shwo"
    assert _mistake(PROGRAMS["ddsctl"], ["mail", "ls", "--too", "x"]) == "there is no option --too"
    assert _mistake(PROGRAMS["ddsd"], ["demo", "--once", "--dir", "x"]) == ""
    assert _mistake(PROGRAMS["ddsd"], ["demo", "--twice"]) == "there is no option --twice"


@pytest.mark.parametrize("page", GUIDES, ids=_name)
def test_every_setting_exists(page: Path) -> None:
    settings = {(section, key) for section, keys in Settings().model_dump().items() for key in keys}
    inline = [match.groups() for code in _inline(page) if (match := _SETTING.fullmatch(code))]
    variables = [
        (section.lower(), key.lower())
        for code in (*_inline(page), *(" ".join(words) for words in _typed(page)))
        for section, key in _VARIABLE.findall(code)
        if section != _PLACEHOLDER
    ]
    in_files = [
        (section, key)
        for language, text in _blocks(page)
        if language == "toml"
        for section, keys in tomllib.loads(text).items()
        for key in keys
    ]
    assert {*inline, *variables, *in_files} <= settings


@pytest.mark.parametrize("page", GUIDES, ids=_name)
def test_every_path_of_the_checkout_exists(page: Path) -> None:
    named = [code.partition(":")[0] for code in _inline(page) if _PATH.fullmatch(code)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_dependency_is_accounted_for() -> None:
    record = (ROOT / "docs/decisions/0006-dependencies.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| ([^|]+) \|", record, re.MULTILINE)
    accounted = {name.split()[0] for cell in first_cells for name in cell.split(", ")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"]]
    wanted += [one for group in project["dependency-groups"].values() for one in group]
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in wanted}
    assert names == accounted - {"runtime", "development", "---"}, json.dumps(sorted(names))


def test_the_workshop_lists_every_make_target_of_the_tests() -> None:
    workshop = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {target for target in TARGETS - {"help"} if f"make {target}" not in workshop} == set()
