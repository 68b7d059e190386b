"""``python -m tests.stores_table``: perform the operator's checks on every store; write the table of docs/stores.md."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from ddsd.storage.check.catalogue import CHECKS
from ddsd.storage.check.outcome import Outcome, Verdict, perform
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.port import ObjectStore
from tests.contracts.stores import SERVED, a_bench, minio_store, versitygw_store
from tests.parts.minio_server import minio_server
from tests.parts.versitygw import versitygw_server

PAGE: Final = Path(__file__).parents[1] / "docs" / "stores.md"
BEGIN: Final = "<!-- written by python -m tests.stores_table -->"
END: Final = "<!-- end of what is written -->"
_CELLS: Final[Mapping[Verdict, str]] = {
    Verdict.PASSED: "yes",
    Verdict.WARNING: "**no**, a warning",
    Verdict.FAILED: "**no**",
    Verdict.NOT_TRIED: "–",
}


def cell(outcome: Outcome) -> str:
    """Return what the table says of an outcome."""
    return _CELLS[outcome.verdict]


@cache
def documented() -> dict[str, dict[str, str]]:
    """Return the table as it is written: what each store can, by capability."""
    text = PAGE.read_text(encoding="utf-8")
    written = text.partition(BEGIN)[2].partition(END)[0]
    _, _, *rows = [line.strip("| ").split(" | ") for line in written.strip().splitlines()]
    return {name: dict(zip(SERVED, cells, strict=True)) for name, *cells in rows}


def main() -> None:
    """Perform every check on every store; write what came of it."""
    with tempfile.TemporaryDirectory(prefix="ddsd-stores-") as made, ExitStack() as servers:
        outcomes = {
            kind: asyncio.run(_performed(servers.enter_context(_store(kind, Path(made) / kind))))
            for kind in SERVED
        }
    head = ["| what it does | " + " | ".join(SERVED) + " |", "| --- " * (len(SERVED) + 1) + "|"]
    rows = [
        f"| {check.capability} | "
        + " | ".join(cell(outcomes[kind][number]) for kind in SERVED)
        + " |"
        for number, check in enumerate(CHECKS)
    ]
    table = "\n".join([BEGIN, *head, *rows, END])
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL), "utf-8")


@contextmanager
def _store(kind: str, directory: Path) -> Iterator[ObjectStore]:
    directory.mkdir()
    match kind:
        case "embedded":
            yield EmbeddedStore(directory=directory)
        case "minio":
            for minio in minio_server(directory):
                yield minio_store(minio)
        case _:
            for versitygw in versitygw_server(directory):
                yield versitygw_store(versitygw)


async def _performed(store: ObjectStore) -> list[Outcome]:
    await store.start()
    try:
        async with a_bench(store) as bench:
            return [await perform(check, bench) for check in CHECKS]
    finally:
        await store.stop()


if __name__ == "__main__":
    main()
