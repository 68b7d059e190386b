"""Whole deliveries with the stock client on each store, beside what minio-py moves there by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio

from ddsd.secret import SecretText
from ddsd.storage.check.bench import remove_whole
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.port import ObjectStore, ScopedKey
from tests.bench.memory import held_mib, most_held
from tests.contracts.stores import minio_store, versitygw_store
from tests.e2e.installation import PASSWORD, Installation, set_up
from tests.parts import ports
from tests.parts.minio_server import minio_server
from tests.parts.smtp import running_mail_server
from tests.parts.stock_client import BINARY, DEFAULT_BINARY, StockClient
from tests.parts.versitygw import versitygw_server

STORES = ("embedded", "minio", "versitygw")
MIB = 1024 * 1024
_PART = 16 * MIB
_THREADS = 4
"""Of the stock client's own default, and of the bare transfer beside it."""
_PATIENCE_S = 3600.0
_HELD = "daemon and what it has started (MiB, PSS)"


@dataclass(frozen=True)
class Amount:
    """What is delivered: files of one size, of bytes that do not compress."""

    said: str
    count: int
    size_bytes: int

    @property
    def mib(self) -> float:
        """All of it."""
        return self.count * self.size_bytes / MIB


def amounts(scale: float) -> tuple[Amount, Amount]:
    """Return 1 GiB in one file, and 2,000 files of 64 KiB; or a part of it."""
    large = max(1, int(1024 * scale))
    many = max(1, int(2000 * scale))
    return (
        Amount(f"{large} MiB in one file", 1, large * MIB),
        Amount(f"{many:,} × 64 KiB", many, 64 * 1024),
    )


def measure(kind: str, directory: Path, scale: float) -> dict[str, float]:
    """Measure on one store, with everything in ``directory``."""
    figures: dict[str, float] = {}
    with (
        ports.stock_port_alone() as port,
        running_mail_server() as mail,
        _running(kind, directory) as store,
    ):
        site = set_up(directory / "site", "", mail, port=port, store=store.section)
        daemon = site.place.start().ready()
        try:
            deliveries = _Deliveries(site, directory)
            figures[f"idle, {_HELD}"] = held_mib(daemon.process.pid)
            for amount in amounts(scale):
                source = _source(directory, amount)
                with most_held(daemon.process.pid) as most:
                    seconds = deliveries.one(source)
                bare = asyncio.run(_bare(store.alone, directory, source))
                for way, took in seconds.items():
                    figures[f"{amount.said}, {way} (s)"] = round(took, 2)
                    figures[f"{amount.said}, {way} (MiB per s)"] = amount.mib / took
                    figures[f"{amount.said}, {way}, bare (MiB per s)"] = amount.mib / bare[way]
                    figures[f"{amount.said}, {way}, of the bare time (x)"] = took / bare[way]
                figures[f"{amount.said}, {_HELD}"] = most[0]
                shutil.rmtree(source)
        finally:
            daemon.process.terminate()
            daemon.process.wait()
    return figures


@dataclass(frozen=True)
class _Store:
    """A running store: its part of the configuration, and an adapter that needs no daemon."""

    section: str
    alone: ObjectStore


@contextmanager
def _running(kind: str, directory: Path) -> Iterator[_Store]:
    (directory / kind).mkdir()
    match kind:
        case "embedded":
            # The daemon runs one of its own: two cannot share a directory.
            yield _Store("", EmbeddedStore(directory=directory / kind))
        case "minio":
            for minio in minio_server(directory / kind):
                section = _section(directory, minio.endpoint, minio.access_key, minio.secret_key)
                yield _Store(section, minio_store(minio))
        case _:
            for gw in versitygw_server(directory / kind):
                section = _section(directory, gw.endpoint, gw.access_key, gw.secret_key)
                yield _Store(f'{section}iam_endpoint = "{gw.iam_endpoint}"\n', versitygw_store(gw))


def _section(directory: Path, endpoint: str, access_key: str, secret_key: SecretText) -> str:
    file = directory / "store.secret"
    file.touch(mode=0o600)
    file.write_text(secret_key.text())
    return (
        f'[store]\nkind = "s3"\nendpoint = "{endpoint}"\naccess_key = "{access_key}"\n'
        f'secret_key_file = "{file}"\n'
    )


def _client(store: ObjectStore, key: ScopedKey) -> Minio:
    return Minio(
        urlsplit(store.public_endpoint).netloc,
        key.access_key,
        key.secret_key.text(),
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(maxsize=_THREADS * 2, timeout=60),
    )


class _Deliveries:
    """A unit's admin and a researcher who are logged in with the stock client."""

    def __init__(self, site: Installation, directory: Path) -> None:
        self._site = site
        self._directory = directory
        site.ctl(
            "unit", "create", "genomics", "--name", "Genomics", "--display-name", "Genomics Core",
            "--contact", "genomics@example.org",
        )  # fmt: skip
        for admin in ("admin_one", "admin_two", "admin_three"):
            site.add_person(admin, "unit-admin", "genomics")
        site.add_person("reader", "researcher")
        self._sender, self._recipient = self._logged_in("admin_one"), self._logged_in("reader")

    def one(self, source: Path) -> dict[str, float]:
        """Deliver a directory; return how many seconds it took up and down."""
        create = (
            "project", "create", "--title", "Measured", "--description", "A measured delivery",
            "--principal-investigator", "pi@example.org", "--researcher", "reader@example.org",
        )  # fmt: skip
        _ran(self._sender, *create)
        newest = max(str(one["public_id"]) for one in self._site.ctl("project", "ls"))
        link = self._sender.work / source.name
        link.symlink_to(source)
        put = _ran(self._sender, "data", "put", "-p", newest, "-s", f"{source.name}/.", "--silent")
        _ran(self._sender, "project", "status", "release", "-p", newest)
        into = ("-a", "--verify-checksum", "-d", f"out-{source.name}", "--silent")
        got = _ran(self._recipient, "data", "get", "-p", newest, *into)
        shutil.rmtree(self._recipient.work / f"out-{source.name}")
        return {"put": put, "get": got}

    def _logged_in(self, who: str) -> StockClient:
        binary = Path(os.environ.get(BINARY) or DEFAULT_BINARY).absolute()
        client = StockClient(binary, self._directory / "homes" / who, timeout_seconds=_PATIENCE_S)
        ended = client.login(who, PASSWORD, lambda: asyncio.run(self._site.read_code(who)))
        if ended.exit_code != 0:
            raise RuntimeError(ended.output)
        return client


def _ran(client: StockClient, *words: str) -> float:
    """Run the client to its good end; return how many seconds it took."""
    begun = time.perf_counter()
    ended = client.run(*words)
    if ended.exit_code != 0:
        raise RuntimeError(f"dds {' '.join(words)}: {ended.output}")
    return time.perf_counter() - begun


def _source(directory: Path, amount: Amount) -> Path:
    root = directory / f"source-{amount.count}"
    root.mkdir()
    for number in range(amount.count):
        with (root / f"{number}.bin").open("wb") as file:
            for start in range(0, amount.size_bytes, _PART):
                file.write(os.urandom(min(_PART, amount.size_bytes - start)))
    return root


async def _bare(store: ObjectStore, directory: Path, source: Path) -> dict[str, float]:
    """Move the same files up and down with minio-py alone; return how many seconds that took."""
    bucket, hour = f"bare-{source.name}", timedelta(hours=1)
    await store.start()
    try:
        await store.ensure_bucket(bucket)
        sender = _client(store, await store.issue_upload_key(bucket, hour))
        recipient = _client(store, await store.issue_download_key(hour))
        took = await asyncio.to_thread(
            _up_and_down, sender, recipient, bucket, directory / "bare", source
        )
        await remove_whole(store, bucket)
    finally:
        await store.stop()
    return took


def _up_and_down(
    sender: Minio, recipient: Minio, bucket: str, received: Path, source: Path
) -> dict[str, float]:
    files = sorted(source.iterdir())
    received.mkdir()

    def up(path: Path) -> None:
        sender.fput_object(
            bucket, path.name, str(path), part_size=_PART, num_parallel_uploads=_THREADS
        )

    def down(path: Path) -> None:
        # fget_object asks for HEAD first, which is more than a key for downloads may.
        answer = recipient.get_object(bucket, path.name)
        with (received / path.name).open("wb") as file, answer:
            shutil.copyfileobj(answer, file, MIB)
        answer.release_conn()

    took = {"put": _for_all(up, files), "get": _for_all(down, files)}
    shutil.rmtree(received)
    return took


def _for_all(move: Callable[[Path], None], files: list[Path]) -> float:
    begun = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as threads:
        for done in [threads.submit(move, path) for path in files]:
            done.result()
    return time.perf_counter() - begun
