"""Speaks to the daemon over its Unix socket. Every trouble becomes a :class:`~ddsctl.failures.Failure`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote

import httpx
import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from ddsctl import failures
from ddsctl.failures import ExitCode, Failure
from ddsd.contract.admin import Refusal
from ddsd.contract.words import API_HEADER, API_VERSION, HOST, VERSION_HEADER

Answer = TypeVar("Answer", bound=BaseModel)
Parsed = TypeVar("Parsed")

_CONNECT_S: Final = 2
_ANSWER_S: Final = 60


def path(*parts: str) -> str:
    """Return a path on the daemon whose parts may contain anything that was typed.

    Raises:
        Failure: a part would lead elsewhere.
    """
    for part in parts:
        if "/" in part or part in {"", ".", ".."}:
            raise Failure(ExitCode.REFUSED_INPUT, f"There is nothing called '{part}'.")
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Daemon:
    """The daemon behind a socket; a context manager."""

    def __init__(self, address: Path) -> None:
        self._socket = address
        self._warned_of: str | None = None
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(address)),
            base_url=f"http://{HOST}/{API_VERSION}",
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        self._knock()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _wrong: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, kind: type[Answer]) -> Answer:
        """Ask for one thing.

        Raises:
            Failure: the daemon is away, refuses, or is not understood.
        """
        return self._read(self._ask("GET", path), TypeAdapter(kind))

    def get_list(self, path: str, kind: type[Answer], **query: str | int | None) -> list[Answer]:
        """Ask for many; parameters that are ``None`` are left out.

        Raises:
            Failure: as for :meth:`get`.
        """
        wanted: dict[str, str | int | bool] = {
            name: value for name, value in query.items() if value is not None
        }
        return self._read(self._ask("GET", path, query=wanted), _list_of(kind))

    def post(self, path: str, body: BaseModel | None, kind: type[Answer]) -> Answer:
        """Ask for something to be made or done.

        Raises:
            Failure: as for :meth:`get`.
        """
        return self._read(self._ask("POST", path, body=body), TypeAdapter(kind))

    def post_for_list(self, path: str, body: BaseModel | None, kind: type[Answer]) -> list[Answer]:
        """Ask for many to be made or done.

        Raises:
            Failure: as for :meth:`get`.
        """
        return self._read(self._ask("POST", path, body=body), _list_of(kind))

    def put(self, path: str, body: BaseModel, kind: type[Answer]) -> Answer:
        """Ask for something to be as ``body`` says.

        Raises:
            Failure: as for :meth:`get`.
        """
        return self._read(self._ask("PUT", path, body=body), TypeAdapter(kind))

    def delete(self, path: str, kind: type[Answer], **query: str | bool) -> Answer:
        """Ask for something to be removed or ended.

        Raises:
            Failure: as for :meth:`get`.
        """
        return self._read(self._ask("DELETE", path, query=dict(query)), TypeAdapter(kind))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str | int | bool] | None = None,
        body: BaseModel | None = None,
    ) -> httpx.Response:
        content = body.model_dump_json() if body else None
        headers = {"Content-Type": "application/json"} if body else None
        with self._failures():
            answer = self._http.request(
                method, path, params=query, content=content, headers=headers
            )
        self._compare_versions(answer.headers)
        return answer

    def _compare_versions(self, headers: httpx.Headers) -> None:
        """Warn once of a daemon of another version, and refuse to guess what one of another API means."""
        theirs, ours = headers.get(VERSION_HEADER), version("ddsd")
        if headers.get(API_HEADER, API_VERSION) != API_VERSION:
            raise failures.other_api(theirs or "unknown", ours)
        if theirs not in {None, ours, self._warned_of}:
            self._warned_of = theirs
            typer.echo(failures.other_version(str(theirs), ours), err=True)

    def _knock(self) -> None:
        """See whether anybody opens: httpx hides why a connection fails, and leaves its socket open then."""
        try:
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.settimeout(_CONNECT_S)
                knocking.connect(str(self._socket))
        except PermissionError as wrong:
            raise failures.socket_closed_to_us(self._socket) from wrong
        except OSError as wrong:
            raise failures.daemon_away(self._socket) from wrong

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as wrong:
            raise failures.daemon_away(self._socket) from wrong
        except httpx.TransportError as wrong:
            raise failures.daemon_silent(self._socket) from wrong

    def _read(self, answer: httpx.Response, kind: TypeAdapter[Parsed]) -> Parsed:
        try:
            if answer.is_success:
                return kind.validate_json(answer.content)
            raise _refused(answer.status_code, Refusal.model_validate_json(answer.content))
        except ValidationError as wrong:
            raise failures.not_ddsd(self._socket) from wrong


def _list_of(kind: type[Answer]) -> TypeAdapter[list[Answer]]:
    return TypeAdapter(list[kind])  # type: ignore[valid-type]  # made at run time


def _refused(status: int, refusal: Refusal) -> Failure:
    match status:
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAUTHORIZED:
            code = ExitCode.NOT_ALLOWED
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
            code = ExitCode.UNAVAILABLE
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            code = ExitCode.REFUSED_INPUT
        case _:
            code = ExitCode.FAILED
    return Failure(code, _by_option(refusal) or refusal.message)


def _by_option(refusal: Refusal) -> str:
    """Name what was typed, an option a line, when the daemon names the fields it refuses."""
    return "\n  ".join(
        f"{failures.OPTIONS.get(field, field)} {' '.join(map(str, why))}"
        for field, why in refusal.facts.items()
        if refusal.code == "invalid_fields" and isinstance(why, list)
    )
