"""A small sequencing delivery, made up: the same seed always gives the same bytes.

It holds what deliveries hold and what breaks them: text that compresses, data that is compressed
already, an empty file, nested folders, a name with blanks and letters outside ASCII.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

READS_PER_FILE: Final = 10_000
READ_LENGTH: Final = 150

_GENOME_LENGTH: Final = 40_000
_SAMPLES: Final = ("P1001_101", "P1001_102")
# The four quality values that newer Illumina instruments report, best first.
_QUALITIES: Final = "F:,#"


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One file: its path relative to the data set's folder, and its size in bytes."""

    path: PurePosixPath
    size_bytes: int


def generate(
    directory: Path, *, seed: int = 2026, reads_per_file: int = READS_PER_FILE
) -> list[DatasetFile]:
    """Write the data set into ``directory``, which is made if need be; return what was written.

    Each FASTQ file has about 340 bytes per read before compression, so the default is 3.4 MB. The
    list is sorted by path. What else is in the directory is left alone; same names are overwritten.
    """
    rng = random.Random(seed)  # noqa: S311 - it is to be repeatable; nothing here is secret
    contents = dict(_contents(rng, reads_per_file))
    for path, content in contents.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return [DatasetFile(path, len(contents[path])) for path in sorted(contents)]


def _contents(rng: random.Random, reads: int) -> Iterator[tuple[PurePosixPath, bytes]]:
    genome = "".join(rng.choices("ACGT", weights=(29, 21, 21, 29), k=_GENOME_LENGTH))
    first, second = _SAMPLES
    forward = _fastq(rng, genome, reads, mate=1)
    yield PurePosixPath("fastq", first, f"{first}_S1_L001_R1_001.fastq"), forward
    backward = gzip.compress(_fastq(rng, genome, reads, mate=2), mtime=0)
    yield PurePosixPath("fastq", first, f"{first}_S1_L001_R2_001.fastq.gz"), backward
    yield PurePosixPath("fastq", second, "failed", f"{second}_S2_L001_R1_001.fastq"), b""
    yield PurePosixPath("Läs mig först – prov från Umeå.txt"), _letter().encode()
    yield PurePosixPath("samplesheet.csv"), _samplesheet(rng).encode()


def _fastq(rng: random.Random, genome: str, reads: int, *, mate: int) -> bytes:
    return "".join(_read(rng, genome, number, mate) for number in range(reads)).encode()


def _read(rng: random.Random, genome: str, number: int, mate: int) -> str:
    tile, place = 1101 + number // 2_000, number % 2_000
    name = f"@A00187:416:HT2WNDSX5:1:{tile}:{1_000 + place * 13}:{rng.randrange(1_000, 36_000)}"
    start = rng.randrange(len(genome) - READ_LENGTH)
    bases = genome[start : start + READ_LENGTH]
    return f"{name} {mate}:N:0:GATTACAG+CTGTAATC\n{bases}\n+\n{_quality(rng)}\n"


def _quality(rng: random.Random) -> str:
    """Qualities that fall towards the end of the read, as they do on the instrument."""
    good = READ_LENGTH - rng.randrange(10, 60)
    beginning = rng.choices(_QUALITIES, weights=(95, 4, 1, 0), k=good)
    end = rng.choices(_QUALITIES, weights=(60, 25, 12, 3), k=READ_LENGTH - good)
    return "".join(beginning + end)


def _letter() -> str:
    return (
        "Projekt P1001, leverans 1.\n"
        "Prov P1001_102 gav inga läsningar; filen är tom och ska vara det.\n"
    )


def _samplesheet(rng: random.Random) -> str:
    rows = ["sample,index,index2,concentration_ng_ul,reads_m"]
    for sample in _SAMPLES:
        concentration, reads = rng.uniform(2, 40), rng.uniform(0, 60)
        rows.append(f"{sample},GATTACAG,CTGTAATC,{concentration:.2f},{reads:.1f}")
    return "\n".join(rows) + "\n"
