"""The commands of a page of docs/, as a reader types them: those of the console blocks below a heading."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"
INSTALL: Final = "install.md"
PODMAN: Final = "podman.md"


def commands(heading: str, page: str = INSTALL) -> list[str]:
    """Return what the page says to type as root below one of its headings, up to the next one."""
    return everything(page)[heading]


def everything(page: str = INSTALL) -> dict[str, list[str]]:
    """Return all that the page says to type, by heading."""
    typed: dict[str, list[str]] = {}
    heading, block = "", ""
    for line in DOCS.joinpath(page).read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            block = "" if block else line.removeprefix("```") or "text"
        elif block == "console" and line.startswith("# "):
            typed.setdefault(heading, []).append(line.removeprefix("# "))
        elif not block and line.startswith("#"):
            heading = line.lstrip("#").strip()
    return typed


def text(heading: str, page: str = INSTALL) -> str:
    """Return the one block of text below a heading, such as lines for a file."""
    below = DOCS.joinpath(page).read_text(encoding="utf-8").partition(f"# {heading}\n")[2]
    return below.partition("```text\n")[2].partition("```")[0]


def script(heading: str, page: str = INSTALL) -> str:
    """Return these commands as lines of one script."""
    return "\n".join(commands(heading, page))
