"""The stock client's own modules open what we seal, and we open what they seal."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ddsctl.delivery.container import ContainerFacts
from tests.ctl_delivery.containers import PROJECT, Stored, opened, opened_independently, sealed

SCRIPT = Path(__file__).with_name("stock_container.py")

ORIGINALS = {
    "empty": b"",
    "short": b"The quick brown fox\n",
    "one segment": random.Random(1).randbytes(65_536),
    "segments": random.Random(2).randbytes(3 * 65_536 + 1),
    "repetitive": b"ACGT" * 500_000,
}
PRIVATE_HEX = PROJECT.private_bytes_raw().hex().upper()
PUBLIC_HEX = PROJECT.public_key().public_bytes_raw().hex().upper()


def stock(python: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [python, "-P", SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def yes(condition: bool) -> str:
    return "yes" if condition else "no"


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ORIGINALS)
def test_the_stock_client_opens_what_we_seal(
    stock_python: Path, tmp_path: Path, name: str, compress: bool
) -> None:
    stored = sealed(ORIGINALS[name], compress=compress)
    blob, target = tmp_path / "blob", tmp_path / "original"
    blob.write_bytes(stored.blob)

    facts = stored.facts
    stock(
        stock_python,
        "open",
        blob,
        target,
        PRIVATE_HEX,
        facts.public_key_hex,
        facts.salt_hex,
        yes(compress),
    )

    assert target.read_bytes() == ORIGINALS[name]


@pytest.mark.parametrize(
    ("name", "compress"),
    [(name, True) for name in ORIGINALS] + [(name, False) for name in ORIGINALS if name != "empty"],
)
def test_we_open_what_the_stock_client_seals(
    stock_python: Path, tmp_path: Path, name: str, compress: bool
) -> None:
    source, blob = tmp_path / "original", tmp_path / "blob"
    source.write_bytes(ORIGINALS[name])

    stored = sealed_by_stock(stock_python, source, blob, compress=compress)

    assert opened(stored) == ORIGINALS[name]


def test_our_zstd_frame_is_the_stock_clients_to_the_byte(
    stock_python: Path, tmp_path: Path
) -> None:
    source, blob = tmp_path / "original", tmp_path / "blob"
    source.write_bytes(original := random.Random(3).randbytes(1_000) * 400)
    theirs = sealed_by_stock(stock_python, source, blob, compress=True)
    ours = sealed(original, compress=True)

    assert payload_of(ours) == payload_of(theirs)


def payload_of(stored: Stored) -> bytes:
    return opened_independently(replace(stored, facts=replace(stored.facts, compressed=False)))


def sealed_by_stock(python: Path, source: Path, blob: Path, *, compress: bool) -> Stored:
    answer = json.loads(stock(python, "seal", source, blob, PUBLIC_HEX, yes(compress)))
    facts = ContainerFacts(
        size_original=source.stat().st_size,
        size_stored=blob.stat().st_size,
        salt_hex=answer["salt"],
        public_key_hex=answer["public_key"],
        checksum_hex=hashlib.sha256(source.read_bytes()).hexdigest(),
        compressed=compress,
    )
    return Stored(blob.read_bytes(), facts)
