"""One delivery from beginning to end, as a plain client of the stock wire (``/api/v1``).

A member of a unit creates a project, uploads and releases; a researcher downloads, decrypts and
compares every byte. Invariant: it returns only if all of that was so; anything unexpected is a
:class:`DemoFailed` that names the step, or a :class:`~ddsctl.delivery.DeliveryError`.
"""

from __future__ import annotations

import asyncio
import base64
import filecmp
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
from minio import Minio
from minio.error import MinioException, S3Error
from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError
from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError as StoreHTTPError

from ddsctl.delivery.compression import MAGIC_LENGTH, is_compressed
from ddsctl.delivery.container import (
    ContainerFacts,
    Opening,
    encrypt,
    object_key,
    processed_name,
    project_private_key,
    project_public_key,
)
from ddsd.demo.story import Story
from ddsd.secret import SecretText

CLIENT_VERSION: Final = "2.15.1"
# As the stock client: one request below this, parts of this size above (wire contract §4, s3/proj).
PART_BYTES: Final = 8 * 1024 * 1024
_REGION: Final = "us-east-1"
_TIMEOUT_S: Final = 120.0
_RETRIES: Final = Retry(total=3, backoff_factor=0.2)

ReadCode = Callable[[str], Awaitable[str]]
Advance = Callable[[int], None]


class DemoFailed(Exception):
    """A step did not go as it must; ``status`` is the HTTP status, if it came to that."""

    def __init__(self, step: str, message: str, *, status: int | None = None) -> None:
        answered = "" if status is None else f" (status {status})"
        super().__init__(f"{step}{answered}: {message}")
        self.step = step
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Credentials:
    """Somebody who logs in. ``email``: the primary address; ``password``: latin-1 encodable."""

    username: str
    email: str
    password: SecretText


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """One file that made the whole way. ``name``: its path in the project."""

    name: str
    facts: ContainerFacts


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """What was delivered, as far as it can be proven: every byte was compared."""

    project_id: str
    files: tuple[DeliveredFile, ...]

    @property
    def size_original(self) -> int:
        """Bytes of all files as they were."""
        return sum(file.facts.size_original for file in self.files)

    @property
    def size_stored(self) -> int:
        """Bytes of all files as they lie in the store."""
        return sum(file.facts.size_stored for file in self.files)


async def deliver(
    base_url: str,
    *,
    unit_user: Credentials,
    researcher: Credentials,
    read_code: ReadCode,
    source: Path,
    destination: Path,
    report: Story,
    trust: ssl.SSLContext | None = None,
) -> DeliveryFacts:
    """Deliver the files below ``source`` from ``unit_user`` to ``researcher``.

    ``base_url``: the daemon's, without ``/api/v1``. ``read_code``: given a user name, returns the
    second factor just asked for. ``destination``: absent or empty; gets the same tree. Empty
    folders are not delivered. ``trust``: whose certificates are good; ``None``: those certifi knows.

    Raises: DemoFailed when the daemon or the store answers otherwise than a delivery needs, or the
    trees differ; DeliveryError when a stored object is not what was uploaded or a key is unusable.
    """
    async with httpx.AsyncClient(
        base_url=f"{base_url.rstrip('/')}/api/v1/",
        headers={"X-CLI-Version": CLIENT_VERSION},
        timeout=_TIMEOUT_S,
        trust_env=False,
        verify=trust or True,
    ) as http:
        wire = _Wire(http, report, trust)
        sender = await _log_in(wire, unit_user, read_code)
        project_id = await _create_project(sender, unit_user, researcher)
        paths = await asyncio.to_thread(_files_below, source)
        delivered = await _upload(sender.within(project_id), source, paths)
        await _release(sender.within(project_id))
        recipient = await _log_in(wire, researcher, read_code)
        await _find_project(recipient, project_id)
        await _download(recipient.within(project_id), delivered, destination)
    with report.step("compare every byte with the source") as step:
        await asyncio.to_thread(_compare, step.title, source, destination)
        step.detail = f"{len(delivered)} files are the same"
    return DeliveryFacts(project_id, delivered)


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


class _FirstFactor(_Answer):
    token: SecretStr
    method: Literal["HOTP", "TOTP"] = Field(alias="secondfactor_method")


class _Session(_Answer):
    token: SecretStr


class _Created(_Answer):
    project_id: str
    user_addition_statuses: list[str]


class _StoreKeys(_Answer):
    access_key: str
    secret_key: SecretStr


class _Store(_Answer):
    url: str
    bucket: str
    keys: _StoreKeys


class _PublicKey(_Answer):
    public: str


class _PrivateKey(_Answer):
    private: SecretStr


class _Matches(_Answer):
    files: dict[str, str] | None


class _Message(_Answer):
    message: str


class _ProjectRow(_Answer):
    project_id: str = Field(alias="Project ID")
    status: str = Field(alias="Status")
    access: bool = Field(alias="Access")


class _Projects(_Answer):
    project_info: list[_ProjectRow]


class _StoredFile(_Answer):
    size_original: int
    size_stored: int
    salt: str
    public_key: str
    checksum: str
    compressed: bool
    url: str

    def facts(self) -> ContainerFacts:
        return ContainerFacts(
            size_original=self.size_original,
            size_stored=self.size_stored,
            salt_hex=self.salt,
            public_key_hex=self.public_key,
            checksum_hex=self.checksum,
            compressed=self.compressed,
        )


class _StoredFiles(_Answer):
    files: dict[str, _StoredFile]


_AnswerT = TypeVar("_AnswerT", bound=_Answer)


@dataclass(frozen=True, slots=True)
class _Wire:
    """The stock wire as one person uses it, about one project if ``project_id`` is set."""

    http: httpx.AsyncClient
    report: Story
    trust: ssl.SSLContext | None = None
    token: SecretText | None = None
    project_id: str | None = None

    def within(self, project_id: str) -> _Wire:
        return replace(self, project_id=project_id)

    async def ask(
        self,
        step: str,
        method: str,
        path: str,
        expected: type[_AnswerT],
        *,
        body: JsonValue = None,
        authorization: SecretText | None = None,
    ) -> _AnswerT:
        """Make one call; JSON goes with GET, too. Raises: DemoFailed unless it is answered so."""
        headers = {}
        if authorization is not None:
            headers["Authorization"] = authorization.text()
        elif self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.text()}"
        params = {} if self.project_id is None else {"project": self.project_id}
        try:
            response = await self.http.request(
                method, path, params=params, headers=headers, json=body
            )
        except httpx.HTTPError as error:
            raise DemoFailed(step, f"{path} was not answered: {error!r}") from error
        return _understood(step, path, response, expected)


def _understood(
    step: str, path: str, response: httpx.Response, expected: type[_AnswerT]
) -> _AnswerT:
    status = response.status_code
    if status != httpx.codes.OK:
        raise DemoFailed(step, f"{path} answered {response.text[:500]}", status=status)
    try:
        return expected.model_validate_json(response.content)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, e["loc"])) or "all of it" for e in error.errors())
        reason = f"{path} answered what the wire contract does not allow: {places}"
        raise DemoFailed(step, reason, status=status) from None


async def _log_in(wire: _Wire, person: Credentials, read_code: ReadCode) -> _Wire:
    with wire.report.step(f"log in as {person.username}") as step:
        pair = f"{person.username}:{person.password.text()}".encode("latin-1")
        basic = SecretText(f"Basic {base64.b64encode(pair).decode()}")
        first = await wire.ask(
            step.title, "GET", "user/encrypted_token", _FirstFactor, authorization=basic
        )
        partial = replace(wire, token=SecretText(first.token.get_secret_value()))
        code = await read_code(person.username)
        session = await partial.ask(
            step.title, "GET", "user/second_factor", _Session, body={first.method: code}
        )
        step.detail = f"second factor {first.method}"
    return replace(wire, token=SecretText(session.token.get_secret_value()))


async def _create_project(sender: _Wire, unit_user: Credentials, researcher: Credentials) -> str:
    with sender.report.step("create a project") as step:
        created = await sender.ask(
            step.title,
            "POST",
            "proj/create",
            _Created,
            body={
                "title": "Demonstration delivery",
                "description": "A made-up sequencing delivery, sent by ddsd demo",
                "pi": unit_user.email,
                "non_sensitive": True,
                "users_to_add": [{"email": researcher.email, "role": "Researcher"}],
                "force": True,
            },
        )
        step.detail = "; ".join([created.project_id, *created.user_addition_statuses])
    return created.project_id


def _files_below(source: Path) -> tuple[PurePosixPath, ...]:
    return tuple(
        sorted(
            PurePosixPath(path.relative_to(source)) for path in source.rglob("*") if path.is_file()
        )
    )


async def _upload(
    sender: _Wire, source: Path, paths: tuple[PurePosixPath, ...]
) -> tuple[DeliveredFile, ...]:
    with sender.report.step("ask where to upload") as step:
        store = await sender.ask(step.title, "GET", "s3/proj", _Store)
        public = await sender.ask(step.title, "GET", "proj/public", _PublicKey)
        names: list[JsonValue] = [str(path) for path in paths]
        known = await sender.ask(step.title, "GET", "file/match", _Matches, body=names)
        if known.files is not None:
            raise DemoFailed(step.title, "a new project knows some of the files already")
        step.detail = f"bucket {store.bucket}"
    uploading = _Upload(_minio(store, sender.trust), store.bucket, public.public, source)
    delivered = [await _upload_one(sender, uploading, path) for path in paths]
    with sender.report.step("say that the upload is complete") as step:
        done = await sender.ask(step.title, "POST", "proj/upload/complete", _Message)
        step.detail = done.message
    return tuple(delivered)


@dataclass(frozen=True, slots=True)
class _Upload:
    """Where one project's files go. Its methods block."""

    store: Minio
    bucket: str
    public_hex: str
    source: Path

    def seal(self, path: PurePosixPath, sink: IO[bytes]) -> ContainerFacts:
        with (self.source / path).open("rb") as original:
            start = original.read(MAGIC_LENGTH)
            original.seek(0)
            public = project_public_key(self.public_hex)
            compress = not is_compressed(start)
            facts = encrypt(original, sink, project_public=public, compress=compress)
        sink.seek(0)
        return facts

    def put(self, step: str, key: str, sealed: _Counted, size_stored: int) -> None:
        try:
            self.store.put_object(
                self.bucket,
                key,
                sealed,  # type: ignore[arg-type]  # minio-py only calls read()
                size_stored,
                part_size=PART_BYTES,
            )
        except S3Error as error:
            reason = f"the store refused: {error.code}: {error.message}"
            raise DemoFailed(step, reason, status=error.response.status) from error
        except (MinioException, StoreHTTPError) as error:
            raise DemoFailed(step, f"the store did not take it: {error}") from error


class _Counted:
    """A file being read that says how much was."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(size)
        self._advance(len(block))
        return block


def _minio(store: _Store, trust: ssl.SSLContext | None) -> Minio:
    address = urlsplit(store.url)
    pool = PoolManager(ssl_context=trust, timeout=_TIMEOUT_S, retries=_RETRIES) if trust else None
    return Minio(
        address.netloc,
        access_key=store.keys.access_key,
        secret_key=store.keys.secret_key.get_secret_value(),
        secure=address.scheme == "https",
        region=_REGION,
        http_client=pool,
    )


async def _upload_one(sender: _Wire, upload: _Upload, path: PurePosixPath) -> DeliveredFile:
    with ExitStack() as stack:
        sealed = stack.enter_context(await asyncio.to_thread(tempfile.TemporaryFile))
        with sender.report.step(f"seal {path}") as step:
            facts = await asyncio.to_thread(upload.seal, path, sealed)
            step.size_bytes = facts.size_original
        key = object_key(str(path.parent), processed_name(path.name, compressed=facts.compressed))
        title = f"upload {path}"
        with sender.report.transfer(title, facts.size_stored) as advance:
            counted = _Counted(sealed, advance)
            await asyncio.to_thread(upload.put, title, key, counted, facts.size_stored)
            await sender.ask(
                title, "POST", "file/new", _Message, body=_registration(path, key, facts)
            )
    return DeliveredFile(str(path), facts)


def _registration(path: PurePosixPath, key: str, facts: ContainerFacts) -> dict[str, JsonValue]:
    return {
        "name": str(path),
        "name_in_bucket": key,
        "subpath": str(path.parent),
        "size": facts.size_original,
        "size_processed": facts.size_stored,
        "compressed": facts.compressed,
        "salt": facts.salt_hex,
        "public_key": facts.public_key_hex,
        "checksum": facts.checksum_hex,
    }


async def _release(sender: _Wire) -> None:
    with sender.report.step("release the project") as step:
        released = await sender.ask(
            step.title,
            "POST",
            "proj/status",
            _Message,
            body={"new_status": "Available", "send_email": True},
        )
        step.detail = released.message


async def _find_project(recipient: _Wire, project_id: str) -> None:
    with recipient.report.step("find the project as the researcher") as step:
        projects = await recipient.ask(
            step.title, "GET", "proj/list", _Projects, body={"usage": False, "show_all": False}
        )
        rows = {row.project_id: row for row in projects.project_info}
        row = rows.get(project_id)
        if row is None:
            raise DemoFailed(step.title, f"{project_id} is not listed")
        if row.status != "Available" or not row.access:
            held = "with" if row.access else "without"
            raise DemoFailed(step.title, f"{project_id} is {row.status}, {held} access")
        step.detail = f"{project_id} is {row.status}"


async def _download(
    recipient: _Wire, uploaded: tuple[DeliveredFile, ...], destination: Path
) -> None:
    with recipient.report.step("ask what there is to download") as step:
        private = await recipient.ask(step.title, "GET", "proj/private", _PrivateKey)
        answer = await recipient.ask(step.title, "GET", "file/all/info", _StoredFiles, body=[])
        _require_same_files(step.title, uploaded, answer.files)
        step.detail = f"{len(answer.files)} files"
    secret = SecretText(private.private.get_secret_value())
    for file in uploaded:
        title = f"download {file.name}"
        with recipient.report.transfer(title, file.facts.size_stored) as advance:
            download = _Download(
                title, answer.files[file.name].url, secret, advance, recipient.trust
            )
            await asyncio.to_thread(download.fetch, destination / file.name, file.facts)
            await recipient.ask(title, "PUT", "file/update", _Message, body={"name": file.name})


def _require_same_files(
    step: str, uploaded: tuple[DeliveredFile, ...], listed: Mapping[str, _StoredFile]
) -> None:
    """Refuse any name that was not uploaded, so that no name leads out of the destination."""
    registered = {file.name: file.facts for file in uploaded}
    if {name: file.facts() for name, file in listed.items()} != registered:
        raise DemoFailed(step, "the files listed are not those that were uploaded")


@dataclass(frozen=True, slots=True)
class _Download:
    """One object on its way to one file. Its methods block."""

    step: str
    url: str
    private_hex: SecretText
    advance: Advance
    trust: ssl.SSLContext | None

    def fetch(self, target: Path, facts: ContainerFacts) -> None:
        """Download and decrypt; the file has its final name only when all was verified."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.part")
        try:
            with partial.open("wb") as sink:
                self._open_into(sink, facts)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def _open_into(self, sink: IO[bytes], facts: ContainerFacts) -> None:
        private = project_private_key(self.private_hex.text())
        opening = Opening(sink, project_private=private, facts=facts)
        try:
            with httpx.stream(
                "GET", self.url, timeout=_TIMEOUT_S, trust_env=False, verify=self.trust or True
            ) as response:
                self._take(response, opening)
        except httpx.HTTPError as error:
            raise DemoFailed(self.step, f"the store did not give it: {error!r}") from error
        opening.finish()

    def _take(self, response: httpx.Response, opening: Opening) -> None:
        status = response.status_code
        if status != httpx.codes.OK:
            reason = response.read().decode(errors="replace")[:500]
            raise DemoFailed(self.step, reason, status=status)
        for piece in response.iter_raw():
            opening.write(piece)
            self.advance(len(piece))


def _compare(step: str, source: Path, destination: Path) -> None:
    names = _files_below(source)
    if _files_below(destination) != names:
        raise DemoFailed(step, "the two trees have different files")
    for name in names:
        if not filecmp.cmp(source / name, destination / name, shallow=False):
            raise DemoFailed(step, f"{name} is not what was sent")
