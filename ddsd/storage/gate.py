"""The embedded store's door: checks who asks for what, and passes the bytes on to rclone.

rclone's own ``--auth-proxy`` can tell users apart but not what they do (a key for one bucket may
read, list and delete there), keeps a revoked key for up to five minutes, and gives every key a
directory cache of its own, so that what one key has put another does not see. So rclone listens on
a private Unix socket with one key, and this process, alone on the public port, does the rest.

Invariant: a request is passed on only when its SigV4 signature was made with a key that the key
file names now, that has not expired, and whose ``May`` covers it; a body is passed on to its last
byte only when it has the hash that was signed. What is passed on is signed anew, from the decoded
and checked form, so that gate and rclone cannot read one request in two ways.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import BinaryIO
from urllib.parse import unquote

from ddsd.storage import leash, sigv4
from ddsd.storage.keyfile import KeyFile
from ddsd.storage.port import May, ScopedKey

RESERVED_PREFIX = ".rclone_temp_"
"""rclone's unfinished uploads are named so, beside the objects; nobody else may use such a name."""

_CHUNK_BYTES = 256 * 1024
_IDLE_S = 300
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_S = 5
_CONNECTIONS = 512
_SKEW = timedelta(minutes=15)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MISTAKEN = re.compile("[\x00-\x1f\x7f\u201b\u2400-\u2426]")
"""Control characters, rclone's pictures of them, and its quote: it would keep two keys with these in one file."""
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_SIGNING_PARAMETERS = frozenset(
    {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
)
_NOT_PASSED_ON = frozenset(
    {
        "authorization",
        "connection",
        "date",
        "expect",
        "host",
        "keep-alive",
        "transfer-encoding",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-meta-mtime",  # rclone would date the object so: its age decides whether it is a leftover
        "x-amz-security-token",
    }
)
_NOT_PASSED_BACK = frozenset({"connection", "date", "keep-alive", "server", "transfer-encoding"})


class Refused(Exception):
    """A request that is not passed on: HTTP status, S3's error code, and words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: path and query decoded, header names in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    @property
    def bucket(self) -> str:
        """The first segment of the path."""
        return self.path[1:].partition("/")[0]

    @property
    def object_key(self) -> str:
        """All of the path after the bucket."""
        return self.path[1:].partition("/")[2]

    @property
    def parameters(self) -> frozenset[str]:
        """The names in the query that are not part of a signature."""
        return frozenset(name for name, _ in self.query) - _SIGNING_PARAMETERS


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says it is from, before anything of it is believed."""

    access_key: str
    region: str
    day: str
    amz_date: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str
    query: tuple[tuple[str, str], ...]
    lifetime: timedelta


def parse(method: str, target: str, headers: Mapping[str, str]) -> Request:
    """Decode a request target in origin form.

    Raises:
        Refused: not a path, not UTF-8, or a bucket or key that no object can have.
    """
    raw_path, _, raw_query = target.partition("?")
    try:
        path = unquote(raw_path, errors="strict")
        query = tuple(
            (unquote(name, errors="strict"), unquote(value, errors="strict"))
            for name, _, value in (pair.partition("=") for pair in raw_query.split("&") if pair)
        )
    except UnicodeDecodeError:
        raise Refused(400, "InvalidURI", "The address is not UTF-8.") from None
    request = Request(method, path, query, headers)
    _check_names(request)
    return request


def _check_names(request: Request) -> None:
    if not request.path.startswith("/"):
        raise Refused(400, "InvalidURI", "The address is not a path.")
    if request.bucket and not _BUCKET.fullmatch(request.bucket):
        raise Refused(400, "InvalidBucketName", "No bucket can have that name.")
    segments = request.object_key.split("/") if request.object_key else []
    if any(part in {"", ".", ".."} for part in segments) or _MISTAKEN.search(request.object_key):
        raise Refused(400, "InvalidArgument", "No object can have that key.")
    if "\x00" in request.path:
        raise Refused(400, "InvalidURI", "The address holds a zero byte.")


def claim_of(request: Request) -> Claim:
    """Read the signature's own statements from the header or the query.

    Raises:
        Refused: there is none, or it is malformed.
    """
    query = dict(request.query)
    try:
        if "authorization" in request.headers:
            return _header_claim(request)
        if "X-Amz-Signature" in query:
            return _query_claim(request, query)
    except (KeyError, ValueError, OverflowError):
        raise Refused(403, "AccessDenied", "The signature's form is wrong.") from None
    raise Refused(403, "AccessDenied", "This store answers signed requests only.")


def _header_claim(request: Request) -> Claim:
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    access_key, day, region = _credential(algorithm, fields["Credential"])
    payload = request.headers["x-amz-content-sha256"]
    if payload.startswith("STREAMING-"):
        raise Refused(501, "NotImplemented", "Bodies signed in chunks are not taken here.")
    if payload != sigv4.UNSIGNED_PAYLOAD and not _HEX_64.fullmatch(payload):
        raise Refused(400, "InvalidArgument", "x-amz-content-sha256 is no SHA-256.")
    return Claim(
        access_key=access_key,
        region=region,
        day=day,
        amz_date=request.headers["x-amz-date"],
        signed_headers=tuple(fields["SignedHeaders"].split(";")),
        signature=fields["Signature"],
        payload=payload,
        query=request.query,
        lifetime=_SKEW,
    )


def _query_claim(request: Request, query: Mapping[str, str]) -> Claim:
    access_key, day, region = _credential(query["X-Amz-Algorithm"], query["X-Amz-Credential"])
    seconds = int(query["X-Amz-Expires"])
    if not 0 < seconds <= 604800:
        raise ValueError(seconds)
    if (
        request.headers.get("x-amz-content-sha256", sigv4.UNSIGNED_PAYLOAD)
        != sigv4.UNSIGNED_PAYLOAD
    ):
        raise Refused(501, "NotImplemented", "A signed link takes an unsigned body only.")
    return Claim(
        access_key=access_key,
        region=region,
        day=day,
        amz_date=query["X-Amz-Date"],
        signed_headers=tuple(query["X-Amz-SignedHeaders"].split(";")),
        signature=query["X-Amz-Signature"],
        payload=sigv4.UNSIGNED_PAYLOAD,
        query=tuple(pair for pair in request.query if pair[0] != "X-Amz-Signature"),
        lifetime=timedelta(seconds=seconds),
    )


def _credential(algorithm: str, credential: str) -> tuple[str, str, str]:
    access_key, day, region, service, end = credential.split("/")
    if (algorithm, service, end) != (sigv4.ALGORITHM, "s3", "aws4_request"):
        raise ValueError(credential)
    return access_key, day, region


def check_signature(request: Request, claim: Claim, key: ScopedKey | None, now: datetime) -> None:
    """Believe the claim, or refuse the request; what the key may do is not looked at here.

    Raises:
        Refused: unknown or expired key, wrong signature, too early, too late, or a header that
            S3 acts on but that was not signed.
    """
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        raise Refused(403, "InvalidAccessKeyId", "No such access key, or it has expired.")
    signed = set(claim.signed_headers)
    acted_on = {name for name in request.headers if name.startswith("x-amz-")}
    if "host" not in signed or acted_on - signed - {"x-amz-content-sha256"}:
        raise Refused(403, "AccessDenied", "The host and every x-amz- header must be signed.")
    signable = sigv4.Signable(
        method=request.method,
        path=sigv4.canonical_path(request.path),
        query=sigv4.canonical_query(claim.query),
        headers={name: request.headers.get(name, "") for name in signed},
        payload=claim.payload,
    )
    derived = sigv4.signing_key(key.secret_key, claim.day, claim.region)
    expected = signable.signature(derived, claim.amz_date, claim.region)
    if claim.day != claim.amz_date[:8] or not _same(expected, claim.signature):
        raise Refused(403, "SignatureDoesNotMatch", "The signature does not fit the request.")
    _check_time(claim, now)


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _check_time(claim: Claim, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(claim.amz_date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(403, "AccessDenied", "The date's form is wrong.") from None
    if signed_at > now + _SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The clocks differ by more than 15 minutes.")
    if now >= signed_at + claim.lifetime:
        raise Refused(403, "AccessDenied", "Request has expired")


def allows(key: ScopedKey, request: Request) -> bool:
    """Tell whether the key covers the request. Pure."""
    if key.may is not May.EVERYTHING and f"/{RESERVED_PREFIX}" in request.path:
        return False
    match key.may:
        case May.EVERYTHING:
            return True
        case May.UPLOAD:
            return bool(
                request.object_key
                and request.bucket == key.bucket
                and "x-amz-copy-source" not in request.headers
                and _is_part_of_an_upload(request.method, request.parameters - {"x-id"})
            )
        case May.DOWNLOAD:
            return bool(
                request.object_key
                and request.method in {"GET", "HEAD"}
                and all(
                    name == "x-id" or name.startswith("response-") for name in request.parameters
                )
            )


def _is_part_of_an_upload(method: str, parameters: frozenset[str]) -> bool:
    return (method, parameters) in {
        ("PUT", frozenset()),
        ("POST", frozenset({"uploads"})),
        ("PUT", frozenset({"partNumber", "uploadId"})),
        ("POST", frozenset({"uploadId"})),
        ("DELETE", frozenset({"uploadId"})),
        ("GET", frozenset({"uploadId"})),
    }


class Upstream(http.client.HTTPConnection):
    """A connection to rclone on its Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("rclone", timeout=_IDLE_S)
        self._path = path

    def connect(self) -> None:
        """Open the connection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Inside:
    """Where rclone listens and the key it takes."""

    socket_path: str
    key: ScopedKey

    def headers_for(self, request: Request, now: datetime) -> dict[str, str]:
        """Return the headers to pass on, signed with the inner key."""
        headers = {
            name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON
        }
        amz_date = sigv4.amz_date_of(now)
        signed = {name: value for name, value in headers.items() if name.startswith("x-amz-")} | {
            "host": "rclone",
            "x-amz-content-sha256": sigv4.UNSIGNED_PAYLOAD,
            "x-amz-date": amz_date,
        }
        signable = sigv4.Signable(
            request.method,
            sigv4.canonical_path(request.path),
            sigv4.canonical_query(passed_on(request)),
            signed,
            sigv4.UNSIGNED_PAYLOAD,
        )
        derived = sigv4.signing_key(self.key.secret_key, amz_date[:8], "us-east-1")
        authorization = (
            f"{sigv4.ALGORITHM} Credential={self.key.access_key}/"
            f"{sigv4.scope(amz_date, 'us-east-1')}, SignedHeaders={';'.join(sorted(signed))}, "
            f"Signature={signable.signature(derived, amz_date, 'us-east-1')}"
        )
        return headers | signed | {"authorization": authorization, "connection": "close"}


def passed_on(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the query without the signature's own parameters."""
    return tuple(pair for pair in request.query if pair[0] not in _SIGNING_PARAMETERS)


class Gate(ThreadingMixIn, HTTPServer):
    """The listener; one thread for each connection, at most 512.

    When all are taken, the connection that has been without a believed signature for longest makes room: strangers
    cannot keep others out by being silent.
    """

    daemon_threads = True

    def __init__(self, listening: socket.socket, keys: KeyFile, inside: Inside) -> None:
        super().__init__(listening.getsockname()[:2], Visit, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.keys = keys
        self.inside = inside
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._strangers: dict[socket.socket, None] = {}
        self._door = threading.Lock()

    def process_request(self, request: object, client_address: object) -> None:
        """Wait for a free place before the connection gets its thread."""
        if not self._places.acquire(blocking=False):
            self._make_room()
            self._places.acquire()
        self.doubt(request)  # type: ignore[arg-type]
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self.believe(request)  # type: ignore[arg-type]
            self._places.release()

    def doubt(self, connection: socket.socket) -> None:
        """Note that nobody has proved anything on the connection, or not since its last request."""
        with self._door:
            self._strangers[connection] = None

    def believe(self, connection: socket.socket) -> None:
        """Note that a request on the connection is allowed: it keeps its place."""
        with self._door:
            self._strangers.pop(connection, None)

    def _make_room(self) -> None:
        with self._door:
            longest = next(iter(self._strangers), None)
            if longest is not None:
                del self._strangers[longest]
        if longest is not None:
            with suppress(OSError):
                longest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave broken connections alone; tell of everything else."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Visit(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    server_version = "ddsd"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    rbufsize = _CHUNK_BYTES
    server: Gate

    def handle_expect_100(self) -> bool:
        """Put the answer off: a refused client need not send its body."""
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a link is a permission and belongs in no log."""

    def serve(self) -> None:
        """Check one request and pass it on, or refuse it."""
        try:
            request = parse(self.command, self.path, self._headers())
            claim = claim_of(request)
            now = datetime.now(UTC)
            key = self.server.keys.find(claim.access_key)
            check_signature(request, claim, key, now)
            if key is None or not allows(key, request):
                raise Refused(403, "AccessDenied", "Access Denied.")
            length = self._body_length()
            self.server.believe(self.connection)
            self._pass_on(request, claim.payload, length, now)
        except Refused as refused:
            self._refuse(refused)
        finally:
            self.server.doubt(self.connection)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            lower = name.lower()
            headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
        return headers

    def _body_length(self) -> int:
        if self.headers.get("Transfer-Encoding"):
            raise Refused(501, "NotImplemented", "A body needs its length beforehand.")
        text = self.headers.get("Content-Length")
        if text is None and self.command in {"PUT", "POST"}:
            raise Refused(411, "MissingContentLength", "A body needs its length beforehand.")
        if not (text or "0").isdecimal():
            raise Refused(400, "InvalidArgument", "The length's form is wrong.")
        return int(text or "0")

    def _pass_on(self, request: Request, payload: str, length: int, now: datetime) -> None:
        upstream = Upstream(self.server.inside.socket_path)
        try:
            query = sigv4.canonical_query(passed_on(request))
            target = sigv4.canonical_path(request.path) + (f"?{query}" if query else "")
            try:
                upstream.putrequest(
                    request.method, target, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.server.inside.headers_for(request, now).items():
                    upstream.putheader(name, value)
                upstream.endheaders()
                complete = self._send_body(upstream, payload, length)
                response = upstream.getresponse()
            except (OSError, http.client.HTTPException):
                raise Refused(503, "ServiceUnavailable", "Please try again.") from None
            self._answer(response, keep=complete)
        finally:
            upstream.close()

    def _send_body(self, upstream: Upstream, payload: str, length: int) -> bool:
        """Send what the client sends; hold the end back until the hash is known to fit.

        Returns False where rclone stopped listening early, having answered already.
        """
        if not length:
            _check_hash(payload, hashlib.sha256().hexdigest())
            return True
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        for piece in held_back(self._body(length), payload):
            try:
                upstream.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                return False
        return True

    def _body(self, length: int) -> Iterator[bytes]:
        body: BinaryIO = self.rfile  # type: ignore[assignment]
        while length:
            piece = body.read1(min(length, _CHUNK_BYTES))  # type: ignore[attr-defined]
            if not piece:
                self.close_connection = True
                raise Refused(400, "IncompleteBody", "The body ended early.")
            length -= len(piece)
            yield piece

    def _answer(self, response: http.client.HTTPResponse, *, keep: bool) -> None:
        self.send_response(_true_status(response))
        chunked = response.length is None and self.command != "HEAD"
        for name, value in response.getheaders():
            if name.lower() not in _NOT_PASSED_BACK:
                self.send_header(name, _as_s3_says_it(name, value, response.status))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if not keep:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._send_back(response, self._send_chunk if chunked else self.wfile.write)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        if not keep:
            self._drain()

    def _send_back(
        self, response: http.client.HTTPResponse, send: Callable[[bytes], object]
    ) -> None:
        promised = response.length
        sent = 0
        while piece := response.read(_CHUNK_BYTES):
            send(piece)
            sent += len(piece)
        if promised is not None and sent != promised:
            raise ConnectionAbortedError("rclone broke off in the middle of an object")

    def _send_chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _refuse(self, refused: Refused) -> None:
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>"
        ).encode()
        self.close_connection = True
        self.send_response(refused.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self._drain()

    def _drain(self) -> None:
        """Read on for a moment: closing on unread bytes would reset the answer away."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_S)
            left = _DRAIN_BYTES
            while left > 0 and (piece := self.connection.recv(_CHUNK_BYTES)):
                left -= len(piece)


def _true_status(response: http.client.HTTPResponse) -> int:
    """Correct rclone, which answers a range with 200: a part would be taken for the whole."""
    if response.status == 200 and response.getheader("Content-Range"):
        return 206
    return response.status


def _as_s3_says_it(name: str, value: str, status: int) -> str:
    """Correct rclone's type of an error, without which minio-py does not read it."""
    return "application/xml" if status >= 400 and name.lower() == "content-type" else value


def held_back(pieces: Iterator[bytes], payload: str) -> Iterator[bytes]:
    """Yield the pieces, the last one only when all together have the SHA-256 that was signed.

    Raises:
        Refused: they have another.
    """
    digest = None if payload == sigv4.UNSIGNED_PAYLOAD else hashlib.sha256()
    last = b""
    for piece in pieces:
        if digest:
            digest.update(piece)
        if last:
            yield last
        last = piece
    if digest:
        _check_hash(payload, digest.hexdigest())
    yield last


def _check_hash(payload: str, found: str) -> None:
    if payload not in {sigv4.UNSIGNED_PAYLOAD, found}:
        raise Refused(400, "XAmzContentSHA256Mismatch", "The body is not the one that was signed.")


def main() -> None:
    """Serve until killed: ``PARENT_PID LISTENING_FD KEY_FILE SOCKET_PATH INNER_ACCESS_KEY``."""
    parent_pid, descriptor, key_file, socket_path, inner = sys.argv[1:]
    leash.die_with(int(parent_pid))
    keys = KeyFile(Path(key_file))
    key = keys.find(inner)
    if key is None:
        sys.exit("the key file does not name the inner key")
    listening = socket.socket(fileno=int(descriptor))
    os.set_blocking(int(descriptor), True)
    Gate(listening, keys, Inside(socket_path, key)).serve_forever()
