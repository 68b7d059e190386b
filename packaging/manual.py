"""The manual pages and the shells' completions, made from the commands and the reference configuration themselves.

`python packaging/manual.py DIRECTORY` writes `man/ddsd.8`, `man/ddsctl.1`, a page for each group of its commands
(`man/ddsctl-unit.1`), `man/ddsd.toml.5`, and `completions/{bash,zsh,fish}`. The same source gives the same bytes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
from typer._completion_shared import get_completion_script
from typer.core import TyperGroup

from ddsctl.app import app as ddsctl
from ddsd import __version__
from ddsd.__main__ import app as ddsd
from ddsd.demo.run import demo_command

ROOT: Final = Path(__file__).resolve().parents[1]
_ZSH_REGISTERS: Final = "compdef _ddsctl_completion ddsctl"
_ZSH_COMPLETES: Final = '_ddsctl_completion "$@"'
"""zsh reads the file at the first completion in a shell, and takes its body for the answer to that one, too."""
COMPLETIONS: Final = {"bash": "ddsctl", "zsh": "_ddsctl", "fish": "ddsctl.fish"}
"""What the file of each shell must be called for the shell to find it."""

_PARTS: Final = re.compile(r"^(\[.+\])$|^((?:#.*\n)+)((?:[a-z].*\n)*)", re.MULTILINE)
"""Of the reference: a section; or the lines of a remark, with the keys it is about, if there are any."""

# Typer's commands are click's, which it carries within itself and gives no public type.
Command = Any


@dataclass(frozen=True)
class Page:
    """One page: its section of the manual, a line that says what it is for, and its body in roff."""

    name: str
    section: int
    purpose: str
    body: tuple[str, ...]
    see_also: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Return the name that man looks for."""
        return f"{self.name}.{self.section}"

    def text(self) -> str:
        """Return the page in roff's man macros, man(7)."""
        title = f'.TH {self.name.upper()} {self.section} "" "ddsd {__version__}" "Data delivery"'
        lines = [title, ".SH NAME", f"{quoted(self.name)} \\- {quoted(self.purpose)}", *self.body]
        return "\n".join([*lines, ".SH SEE ALSO", ", ".join(map(_reference, self.see_also)), ""])


def pages() -> list[Page]:
    """Make every page."""
    control = _tree(ddsctl)
    groups = {name: one for name, one in control.commands.items() if isinstance(one, TyperGroup)}
    of_groups = [_group_page(f"ddsctl {name}", one) for name, one in groups.items()]
    return [_daemon_page(), _control_page(control, groups), *of_groups, _settings_page()]


def _tree(app: typer.Typer) -> TyperGroup:
    command = typer.main.get_command(app)
    if not isinstance(command, TyperGroup):
        raise TypeError(f"{command.name} has no commands")
    return command


def _daemon_page() -> Page:
    command = _tree(ddsd)
    demo = typer.Typer(add_completion=False)
    demo.command()(demo_command)
    command.commands["demo"] = typer.main.get_command(demo)
    body = [*_synopsis("ddsd"), *_description(command), *_commands("ddsd", command)]
    files = {
        "/etc/ddsd/ddsd.toml": "The configuration.",
        "/etc/credstore/ddsd.*": "Secrets, one in a file, that systemd hands to the daemon.",
        "/var/lib/ddsd": "The database and the objects, where nothing else is configured.",
        "/run/ddsd/admin.sock": "Where ddsctl speaks to the daemon.",
    }
    body += [".SH FILES", *(line for name, what in files.items() for line in _tagged(name, what))]
    return Page(
        "ddsd", 8, "the data delivery daemon", (*body, *_exit_codes(command)),
        ("ddsctl(1)", "ddsd.toml(5)", "systemctl(1)", "journalctl(1)"),
    )  # fmt: skip


def _control_page(command: TyperGroup, groups: dict[str, TyperGroup]) -> Page:
    alone = {name: one for name, one in command.commands.items() if name not in groups}
    body = [*_synopsis("ddsctl"), *_description(command), *_options(command, "ddsctl")]
    body.append(".SH COMMANDS")
    for name, one in alone.items():
        body += _command(f"ddsctl {name}", one)
    for name, group in groups.items():
        body += _tagged(f"ddsctl {name}", f"{_first_line(group)} See ddsctl-{name}(1).")
    return Page(
        "ddsctl", 1, "operate a data delivery daemon", (*body, *_exit_codes(command)),
        ("ddsd(8)", "ddsd.toml(5)", *(f"ddsctl-{name}(1)" for name in groups)),
    )  # fmt: skip


def _group_page(called: str, group: TyperGroup) -> Page:
    body = [*_synopsis(called), *_description(group), *_commands(called, group)]
    purpose = _first_line(group).rstrip(".")
    return Page(called.replace(" ", "-"), 1, purpose, tuple(body), ("ddsctl(1)", "ddsd(8)"))


def _settings_page() -> Page:
    """Make the page of the configuration out of its commented reference."""
    body = [".SH DESCRIPTION"]
    reference = (ROOT / "config" / "ddsd.toml").read_text(encoding="utf-8")
    for section, remark, keys in _PARTS.findall(reference):
        said = [line.removeprefix("#") for line in remark.splitlines()]
        if section:
            body.append(f'.SH "{quoted(section)}"')
        elif keys:
            tags = [f"\\fB{quoted(key)}\\fR" for key in keys.splitlines()]
            body += [".TP", "\n.TQ\n".join(tags), quoted(" ".join(" ".join(said).split()))]
        else:
            body += _paragraphs(said)
    return Page("ddsd.toml", 5, "the configuration of ddsd", tuple(body), ("ddsd(8)", "ddsctl(1)"))


def _synopsis(called: str) -> list[str]:
    return [
        ".SH SYNOPSIS",
        f"\\fB{quoted(called)}\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]",
    ]


def _description(command: Command) -> list[str]:
    return [".SH DESCRIPTION", *_paragraphs((command.help or "").splitlines())]


def _commands(called: str, group: TyperGroup) -> Iterator[str]:
    yield ".SH COMMANDS"
    for name, one in group.commands.items():
        if not getattr(one, "hidden", False):
            yield from _command(f"{called} {name}", one)


def _command(called: str, command: Command) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from _command(f"{called} {name}", one)
        return
    context = _context(command, called)
    usage = " ".join([called, *command.collect_usage_pieces(context)])
    yield f'.SS "{quoted(usage)}"'
    yield from _paragraphs((command.help or "").splitlines())
    for words, what in _described(command, context):
        yield from _tagged(words, what)


def _options(command: Command, called: str) -> Iterator[str]:
    yield ".SH OPTIONS"
    for words, what in _described(command, _context(command, called)):
        yield from _tagged(words, what)


def _described(command: Command, context: Any) -> Iterator[tuple[str, str]]:
    for one in command.get_params(context):
        if record := one.get_help_record(context):
            yield record


def _context(command: Command, called: str) -> Any:
    return command.make_context(called, [], resilient_parsing=True)


def _exit_codes(command: Command) -> list[str]:
    codes = str(command.epilog).removeprefix("Exit codes:").strip().rstrip(".")
    told = (one.strip().partition(" ") for one in codes.split(";"))
    return [".SH EXIT STATUS", *(line for code, _, what in told for line in _tagged(code, what))]


def _first_line(command: Command) -> str:
    return str(command.help or "").strip().partition("\n")[0]


def _tagged(words: str, what: str) -> list[str]:
    return [".TP", f"\\fB{quoted(words)}\\fR", quoted(" ".join(what.split()))]


def _paragraphs(lines: Iterable[str]) -> list[str]:
    text = "\n".join(line.strip() for line in lines).strip()
    paragraphs = (" ".join(one.split()) for one in re.split(r"\n\s*\n", text) if one.strip())
    return [line for one in paragraphs for line in (".PP", quoted(one))]


def _reference(page: str) -> str:
    name, _, section = page.rstrip(")").partition("(")
    return f"\\fB{quoted(name)}\\fR({section})"


def quoted(text: str) -> str:
    """Write text so that roff reads it as text: its escapes, and its commands at a line's beginning."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def completion(shell: str) -> str:
    """Return what makes a shell ask ddsctl how a word may end."""
    script = get_completion_script(prog_name="ddsctl", complete_var="_DDSCTL_COMPLETE", shell=shell)
    if shell == "zsh":
        script = script.replace(_ZSH_REGISTERS, _ZSH_COMPLETES)
    return script.strip() + "\n"


def write(directory: Path) -> None:
    """Write all pages and completions below the directory."""
    (directory / "man").mkdir(parents=True, exist_ok=True)
    for page in pages():
        (directory / "man" / page.file_name).write_text(page.text(), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        place = directory / "completions" / shell / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(completion(shell), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
