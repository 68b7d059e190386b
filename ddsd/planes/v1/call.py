"""One request on the stock wire: its token, its body or query, and the transaction it is answered in.

The order of checks is the stock system's: version, token, role, JSON, project, access, then the rest
(wire contract, section 0.3). The body is read before the transaction begins.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.datastructures import State

from ddsd import log
from ddsd.access import OWNERS_MAY, Action, Nobody, require
from ddsd.errors import (
    IncompatibleClient,
    InvalidInput,
    MissingField,
    NotAuthenticated,
    SecondFactorRequired,
)
from ddsd.files import intake
from ddsd.files.registration import Upload
from ddsd.keys.token import TokenContents
from ddsd.planes.v1.wire import Json
from ddsd.projects import gate
from ddsd.projects.admission import Admission
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.users import login, sessions
from ddsd.users.sessions import Caller
from ddsd.users.tables import SecondFactor
from ddsd.work import Services, Work, reading, transaction

CLIENT_VERSION_HEADER: Final = "X-CLI-Version"
_MAJOR: Final = "2"
_PARTS: Final = 3
_MISSING: Final = "Required data missing from request!"
_DECODE: Final = msgspec.json.Decoder().decode


class Edition(StrEnum):
    """Which of the two editions of the wire: they differ in where parameters are."""

    V1 = "v1"
    V3 = "v3"


class ProjectParameter(StrEnum):
    """How an endpoint complains of a missing ``project`` (wire contract, section 0.3)."""

    SCHEMA = "schema"
    HELPER = "helper"


@dataclass(frozen=True)
class Asked:
    """A request whose caller is known, in its transaction."""

    call: Call
    work: Work
    caller: Caller
    admission: Admission

    async def project(
        self,
        complaint: ProjectParameter = ProjectParameter.SCHEMA,
        *,
        for_change: bool = False,
    ) -> Project:
        """Return the project the query names.

        Raises:
            MissingField, InvalidInput: none is named.
            NotFound: there is none of that name.
            Forbidden: it is not the caller's.
        """
        public_id = self.call.query("project")
        if public_id is None or (not public_id and complaint is ProjectParameter.HELPER):
            if complaint is ProjectParameter.SCHEMA:
                raise MissingField("project", "Project ID required.")
            raise InvalidInput("Missing required information: 'project'")
        member = self.caller.member
        if for_change:
            return await gate.find(self.work, member, public_id, for_change=True)
        return await self.admission.project(member, public_id)


@dataclass(frozen=True)
class Call:
    """A request as it came; ``said`` is what its token says, if it has a good one."""

    services: Services
    edition: Edition
    request: Request[Any, Any, State]
    raw: bytes
    address: str
    said: TokenContents | None

    @property
    def agent(self) -> str:
        """What the client calls itself; the stock client does so in its version header."""
        version = self.request.headers.get(CLIENT_VERSION_HEADER, "")
        agent = str(self.request.headers.get("User-Agent", ""))
        return f"dds-cli/{version} {agent}" if version else agent

    @asynccontextmanager
    async def changing(self, action: Action) -> AsyncIterator[Asked]:
        """Open a transaction that may write, for a caller who may do ``action``."""
        contents = self.contents()
        async with self._reminding(contents), transaction(self.services, Nobody()) as work:
            yield await self._admit(Admission(work), contents, action)

    @asynccontextmanager
    async def reading(self, action: Action) -> AsyncIterator[Asked]:
        """Open a transaction that only reads, for a caller who may do ``action``."""
        contents = self.contents()
        async with self._reminding(contents), reading(self.services, Nobody()) as work:
            yield await self._admit(Admission(work), contents, action)

    async def registering(self, claim: Callable[[Asked], Awaitable[Upload]]) -> Upload:
        """Register the file that ``claim`` returns, in one transaction with others that come at this moment.

        ``claim`` is asked in that transaction, for a caller who may upload, and only reads.

        Raises:
            DdsError: what ``claim`` raises, and see :func:`ddsd.files.intake.add`.
        """
        contents = self.contents()
        labels: list[str] = []

        async def admitted(admission: Admission) -> Upload:
            asked = await self._admit(admission, contents, Action.UPLOAD, labels.append)
            return await claim(asked)

        async with self._reminding(contents):
            try:
                return await intake.add(self.services, admitted)
            finally:
                for label in labels:  # here: the transaction may be another request's task
                    log.acting_as(label)

    @asynccontextmanager
    async def _reminding(self, contents: TokenContents) -> AsyncIterator[None]:
        """Mail a code to somebody who has only given the password, as the stock system does."""
        try:
            yield
        except SecondFactorRequired:
            async with reading(self.services, Nobody()) as work:
                caller = await sessions.find_opened(work, contents)
            if caller.user.second_factor is SecondFactor.MAIL:
                await login.mail_code(self.services, caller.user)
            raise

    async def _admit(
        self,
        admission: Admission,
        contents: TokenContents,
        action: Action,
        name: Callable[[str], None] = log.acting_as,
    ) -> Asked:
        caller, work = await admission.caller(contents), admission.work
        sessions.require_second_factor(caller)
        name(caller.member.label)
        if action in OWNERS_MAY:
            member = await gate.as_owner(work, caller.member, self.query("project"))
            caller = replace(caller, member=member)
        require(caller.member, action)
        return Asked(self, replace(work, actor=caller.member), caller, admission)

    def contents(self) -> TokenContents:
        """Return what the bearer token says; whether its session lives is not asked.

        Raises:
            NotAuthenticated: there is none, it is none of ours, altered, or its time is up.
        """
        return self.said or sessions.opened(self.services, self.token())

    def token(self) -> str:
        """Return the bearer token.

        Raises:
            NotAuthenticated: there is none.
        """
        token = _bearer(self.request)
        if not token:
            raise NotAuthenticated("No token")
        return token

    def basic(self) -> tuple[str, SecretText]:
        """Return user name and password from the Basic credentials; UTF-8 if they are that, else Latin-1.

        Raises:
            NotAuthenticated: there are none, or they cannot be read.
        """
        scheme, _, encoded = self.request.headers.get("Authorization", "").partition(" ")
        try:
            raw = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if scheme.lower() != "basic" or b":" not in raw:
            raise NotAuthenticated(login.WRONG)
        name, _, password = _text(raw).partition(":")
        if "\x00" in name or "\x00" in password:
            raise NotAuthenticated(login.WRONG)
        return name, SecretText(password)

    def json(self) -> Any:
        """Return the JSON body.

        Raises:
            InvalidInput: it is missing, empty, no JSON, or holds a character no database takes.
        """
        body = self.json_or_nothing()
        if not body:
            raise InvalidInput(_MISSING)
        return body

    def json_object(self) -> Json:
        """Return the JSON body, which must be an object.

        Raises:
            InvalidInput: it is missing, or something else.
        """
        body = self.json()
        if not isinstance(body, dict):
            raise InvalidInput("The request's JSON must be an object.")
        return body

    def json_or_nothing(self) -> Any:
        """Return the JSON body, or ``None`` when there is none or it cannot be read.

        Raises:
            InvalidInput: it holds a NUL character.
        """
        if not self.raw.strip():
            return None
        try:
            body = _DECODE(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if b"\\u0000" in self.raw and _holds_nul(body):
            raise InvalidInput("The request holds a NUL character, which cannot be stored.")
        return body

    def options(self) -> Json:
        """Return optional parameters: the body's (v1), or the query's (v3); of the wrong type they count as absent."""
        if self.edition is Edition.V3:
            return {key: self.query(key) for key in self.request.query_params}
        body = self.json_or_nothing()
        return body if isinstance(body, dict) else {}

    def names(self, v3_parameter: str) -> list[str]:
        """Return the list of paths: the body's array (v1), or a repeated query parameter (v3).

        Raises:
            InvalidInput: v1: it is missing, or no array of strings.
        """
        if self.edition is Edition.V3:
            return [_checked(name) for name in self.request.query_params.getall(v3_parameter, [])]
        body = self.json()
        if not isinstance(body, list) or not all(isinstance(name, str) for name in body):
            raise InvalidInput("The request's JSON must be an array of paths.")
        return body

    def query(self, name: str) -> str | None:
        """Return a query parameter.

        Raises:
            InvalidInput: it holds a NUL character.
        """
        value = self.request.query_params.get(name)
        return None if value is None else _checked(str(value))


async def provide_call(request: Request[Any, Any, State]) -> Call:
    """Read the whole request. A dependency of every handler of this plane.

    A stranger's body is not read: nothing here asks for one without a token, and it would be held in memory.

    Raises:
        IncompatibleClient: on v1, the client's version does not fit (wire contract, section 1).
    """
    edition = Edition(request.scope["path"].split("/")[2])
    if edition is Edition.V1:
        _check_version(request.headers.get(CLIENT_VERSION_HEADER))
    services: Services = request.app.state.services
    said = _said(services, _bearer(request))
    return Call(
        services=services,
        edition=edition,
        request=request,
        raw=await request.body() if said else b"",
        address=request.client.host if request.client else "",
        said=said,
    )


def as_flag(value: object, *, default: bool) -> bool:
    """Read a yes or no from JSON or a query string."""
    if value is None:
        return default
    if isinstance(value, str):
        return value.strip().lower() in {"true", "1", "yes", "on"}
    return bool(value)


def _said(services: Services, token: str) -> TokenContents | None:
    """Return what the token says if it is a good one, else nothing."""
    try:
        return sessions.opened(services, token)
    except NotAuthenticated:
        return None


def _bearer(request: Request[Any, Any, State]) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_version(version: str | None) -> None:
    if not version:
        raise IncompatibleClient("No version found in request, cannot proceed.")
    parts = version.split(".")
    if len(parts) != _PARTS:
        raise IncompatibleClient("Incompatible version lengths.")
    if parts[0] != _MAJOR:
        raise IncompatibleClient(
            "You're using an old CLI version, please upgrade to the latest one."
        )


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _checked(value: str) -> str:
    if "\x00" in value:
        raise InvalidInput("The request holds a NUL character, which cannot be stored.")
    return value


def _holds_nul(body: object) -> bool:
    """Look through the whole body; not by recursion, as it may be nested to the decoder's limit."""
    waiting = [body]
    while waiting:
        match waiting.pop():
            case str() as text if "\x00" in text:
                return True
            case list() as items:
                waiting += items
            case dict() as items:
                waiting += items
                waiting += items.values()
    return False
