"""The stock client, unmodified, does the main job against a running demo: the reason this project exists."""

from __future__ import annotations

import filecmp
import gzip
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, running_demo
from tests.parts.stock_client import StockClient

pytestmark = [pytest.mark.xdist_group("stock-client"), pytest.mark.slow]

MIB = 1024 * 1024
PASSWORD = "password"
SMALL_FILES = 300


@pytest.fixture(params=["sqlite-embedded", "postgresql-minio"])
def demo(request: pytest.FixtureRequest, tmp_path: Path, stock_port: int) -> Iterator[Instance]:
    """A demo on each kind of database and of store."""
    options: list[str] = []
    environment = {}
    if request.param == "postgresql-minio":
        program: Path = request.getfixturevalue("minio_binary")
        options = ["--store", "minio", "--database", request.getfixturevalue("postgres_url")]
        environment["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    with running_demo(tmp_path / "demo", stock_port, *options, environment=environment) as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A data set with everything that has ever gone wrong: empty, large, compressible, compressed, many."""
    random_bytes = random.Random(1)
    root = tmp_path / "data set"
    (root / "nested" / "deeper").mkdir(parents=True)
    (root / "many").mkdir()
    (root / "empty.txt").touch()
    (root / "nested" / "random.bin").write_bytes(random_bytes.randbytes(64 * MIB))
    (root / "nested" / "text.txt").write_bytes(b"The quick brown fox\n" * 100_000)
    (root / "nested" / "deeper" / "reads.fastq.gz").write_bytes(
        gzip.compress(random_bytes.randbytes(MIB), mtime=0)
    )
    (root / "name with spaces åäö.csv").write_text("a,b\n1,2\n")
    for number in range(SMALL_FILES):
        (root / "many" / f"file{number:03d}.txt").write_bytes(random_bytes.randbytes(number * 7))
    return root


def test_the_stock_client_makes_a_whole_delivery(
    demo: Instance, tree: Path, stock_client_of: Callable[[str], StockClient]
) -> None:
    sender = stock_client_of("unituser_1")
    login = sender.login("unituser_1", PASSWORD, lambda: demo.code_of("unituser_1"))
    assert login.exit_code == 0, login.output

    created = sender.run(
        "project", "create", "--title", "End to end", "--description", "A test delivery",
        "--principal-investigator", "pi@demo.example",
        "--researcher", "researchuser_1@demo.example",
    )  # fmt: skip
    assert created.exit_code == 0, created.output
    project = _project_id(created.output)
    assert "researchuser_1 was given access" in created.output

    sender.work.joinpath("in").symlink_to(tree)
    put = sender.run("data", "put", "-p", project, "-s", "in/.", "--silent")
    assert put.exit_code == 0, put.output
    assert "Upload completed" in put.output, put.output

    listed = sender.run("ls")
    assert project in listed.output
    shown = sender.run("ls", "-p", project, "--tree")
    assert "random.bin" in shown.output, shown.output
    assert "file299.txt" in shown.output
    held = sender.run("data", "ls", "-p", project)
    assert held.exit_code == 0, held.output

    released = sender.run("project", "status", "release", "-p", project)
    assert released.exit_code == 0, released.output
    assert "updated to status Available" in released.output

    recipient = stock_client_of("researchuser_1")
    assert (
        recipient.login(
            "researchuser_1", PASSWORD, lambda: demo.code_of("researchuser_1")
        ).exit_code
        == 0
    )
    assert project in recipient.run("ls").output
    got = recipient.run(
        "data", "get", "-p", project, "-a", "--verify-checksum", "-d", "out", "--silent"
    )
    assert got.exit_code == 0, got.output
    assert_same_tree(tree, _received(recipient.work / "out"))


def _project_id(output: str) -> str:
    found = re.search(r"unit1\d{5}", output)
    assert found, output
    return found.group()


def _received(destination: Path) -> Path:
    """Return where the client put the files."""
    return next(path for path in destination.rglob("empty.txt")).parent


def assert_same_tree(expected: Path, found: Path) -> None:
    """Compare names and every byte."""
    names = {path.relative_to(expected) for path in expected.rglob("*") if path.is_file()}
    assert {path.relative_to(found) for path in found.rglob("*") if path.is_file()} == names
    for name in names:
        assert filecmp.cmp(expected / name, found / name, shallow=False), name
