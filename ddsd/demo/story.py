"""What the demonstration shows while it runs: one line per step, and a table of it all at the end.

On a terminal a transfer has a progress bar while it lasts; elsewhere there are only the lines.
Nothing that is shown is read as markup, so a file name may hold brackets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class Step:
    """One thing that was done. The one who does it fills in ``detail`` and ``size_bytes``."""

    title: str
    detail: str = ""
    size_bytes: int | None = None
    seconds: float = 0.0


class Story:
    """Tells the steps as they happen and remembers them; a failed step is told and not kept."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that succeeded, in their order."""
        return tuple(self._steps)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time what happens inside and tell it when it is over."""
        step = Step(title)
        begun = time.perf_counter()
        try:
            yield step
        except BaseException:
            self._console.print(Text(f"✗ {title}", style="bold red"), soft_wrap=True)
            raise
        step.seconds = time.perf_counter() - begun
        self._steps.append(step)
        self._console.print(_line(step), soft_wrap=True)

    @contextmanager
    def transfer(self, title: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        """Tell a step that moves ``size_bytes``; call what is yielded with each number of bytes.

        The call is safe from any thread.
        """
        with self.step(title) as step, self._progress() as progress:
            step.size_bytes = size_bytes
            task = progress.add_task(title, total=size_bytes)
            yield lambda moved: progress.advance(task, moved)

    def table(self) -> Table:
        """Return the steps so far as a table: step, what came of it, size, seconds."""
        table = Table("Step", "Result")
        table.add_column("Size", justify="right")
        table.add_column("Seconds", justify="right")
        for step in self._steps:
            table.add_row(
                Text(step.title), Text(step.detail), _size(step), Text(f"{step.seconds:.2f}")
            )
        return table

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )


def _line(step: Step) -> Text:
    line = Text.assemble(("✓ ", "bold green"), step.title)
    if step.detail:
        line.append(f": {step.detail}")
    known = [text for text in (str(_size(step)), f"{step.seconds:.2f} s") if text]
    return line.append(f"  ({', '.join(known)})", style="dim")


def _size(step: Step) -> Text:
    return Text("" if step.size_bytes is None else decimal(step.size_bytes))
