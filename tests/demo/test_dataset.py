"""The demonstration's data set: always the same, and awkward where deliveries are."""

from __future__ import annotations

import gzip
from pathlib import Path

from ddsctl.delivery.compression import MAGIC_LENGTH, is_compressed
from ddsd.demo.dataset import READ_LENGTH, generate


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    generate(tmp_path / "one", seed=7, reads_per_file=50)
    generate(tmp_path / "two", seed=7, reads_per_file=50)
    generate(tmp_path / "three", seed=8, reads_per_file=50)

    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert tree(tmp_path / "one") != tree(tmp_path / "three")


def test_what_is_returned_is_what_was_written(tmp_path: Path) -> None:
    written = generate(tmp_path, reads_per_file=50)

    sizes = {path: len(content) for path, content in tree(tmp_path).items()}
    assert {file.path.as_posix(): file.size_bytes for file in written} == sizes
    assert [file.path for file in written] == sorted(file.path for file in written)


def test_the_awkward_kinds_are_all_there(tmp_path: Path) -> None:
    generate(tmp_path, reads_per_file=50)
    files = tree(tmp_path)

    assert any(content == b"" for content in files.values())
    assert any(" " in name and not name.isascii() for name in files)
    assert any(name.count("/") >= 3 for name in files)
    compressed = {name for name in files if is_compressed(files[name][:MAGIC_LENGTH])}
    assert compressed == {name for name in files if name.endswith(".gz")} != set()


def test_the_reads_are_well_formed_fastq(tmp_path: Path) -> None:
    generate(tmp_path, reads_per_file=50)
    files = tree(tmp_path)
    plain = next(c for n, c in files.items() if n.endswith("R1_001.fastq") and c)
    zipped = next(c for n, c in files.items() if n.endswith(".gz"))

    for content in (plain, gzip.decompress(zipped)):
        lines = content.decode("ascii").splitlines()
        assert len(lines) == 4 * 50
        for start in range(0, len(lines), 4):
            name, bases, plus, qualities = lines[start : start + 4]
            assert name.startswith("@")
            assert plus == "+"
            assert len(bases) == len(qualities) == READ_LENGTH
            assert set(bases) <= set("ACGT")
        assert len(set(lines[0::4])) == 50


def test_the_data_set_is_a_few_megabytes(tmp_path: Path) -> None:
    total = sum(file.size_bytes for file in generate(tmp_path))

    assert 2_000_000 < total < 10_000_000
