"""The picture of a project's life, made from the table in :mod:`ddsd.projects.status`.

``python -m ddsd.projects.diagram`` prints what stands between the marks of ``docs/lifecycle.md``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ddsd.projects.status import FINAL, RULES, Lasting, Rule, Status, Verb

BEGIN: Final = "<!-- made by python -m ddsd.projects.diagram -->"
END: Final = "<!-- end -->"


def diagram() -> str:
    """Return a Mermaid state diagram: an arrow per rule."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *_lines(), "```"])


def table() -> str:
    """Return the rules as a Markdown table: one line each."""
    return "\n".join(
        [
            "| from | what | to | only if | deadline | what comes of it |",
            "| --- | --- | --- | --- | --- | --- |",
            *(_row(before, verb, rule) for (before, verb), rule in RULES.items()),
        ]
    )


def section() -> str:
    """Return all that stands in the documentation, with its marks."""
    return "\n\n".join([BEGIN, diagram(), table(), END])


def _lines() -> Iterator[str]:
    for status in Status:
        yield f"    {status.name}: {status}"
    yield f"    [*] --> {Status.IN_PROGRESS.name}: create"
    for (before, verb), rule in RULES.items():
        guard = f" ({rule.guard.words})" if rule.guard else ""
        yield f"    {before.name} --> {rule.to.name}: {verb}{guard}"
    for status in Status:
        if status in FINAL:
            yield f"    {status.name} --> [*]"


def _row(before: Status, verb: Verb, rule: Rule) -> str:
    cells = (
        before,
        verb,
        rule.to,
        rule.guard.words if rule.guard else "",
        "" if rule.lasting is Lasting.NONE else rule.lasting,
        "; ".join(sorted(rule.effects)),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(section())  # noqa: T201  # the output of a program
