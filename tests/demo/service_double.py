"""A stand-in for daemon and store, as small as one delivery allows, over real HTTP on loopback.

It keeps to the wire contract where the delivery depends on it: version header, Basic, Bearer,
codes, the project parameter, and what may be asked in which status. Its store checks no signatures.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

PROJECT = "genom00001"
CODES = {"sender": "12345678", "researcher": "87654321"}
PASSWORDS = {"sender": "sender's word", "researcher": "researcher's word"}
BUCKET = "genom00001-bucket"

Message = MutableMapping[str, Any]


@dataclass
class Refused(Exception):
    status: int
    body: object


@dataclass
class ServiceDouble:
    """Its fields are its whole state; a test changes them to make something go wrong."""

    key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    status: str = "In Progress"
    access: bool = True
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    updated: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    url: str = ""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer = self._answer(scope, body)
        kind = b"application/json" if scope["path"].startswith("/api/") else b"application/xml"
        headers = [(b"etag", b'"e"'), (b"content-type", kind)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, scope: Message, body: bytes) -> tuple[int, bytes]:
        path: str = scope["path"]
        if not path.startswith("/api/v1/"):
            return self._store(scope["method"], path, body)
        name = f"{scope['method']} {path.removeprefix('/api/v1/')}"
        self.calls.append(name)
        try:
            if name in self.answers:
                raise Refused(*self.answers[name])
            return 200, json.dumps(self._v1(name, scope, json.loads(body or b"null"))).encode()
        except Refused as refused:
            return refused.status, json.dumps(refused.body).encode()

    def _store(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        key = path.removeprefix(f"/{BUCKET}/")
        if method == "PUT":
            self.objects[key] = body
            return 200, b""
        return (200, self.objects[key]) if key in self.objects else (404, b"no such object")

    def _v1(self, name: str, scope: Message, body: Any) -> object:
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        if headers.get("x-cli-version") != "2.15.1":
            raise Refused(403, {"message": "No version found in request, cannot proceed."})
        kind, _, credential = headers["authorization"].partition(" ")
        if name == "GET user/encrypted_token":
            return self._first_factor(kind, credential)
        step, _, username = credential.partition(".")
        if name == "GET user/second_factor":
            if step != "partial" or body != {"HOTP": CODES[username]}:
                raise Refused(401, {"message": "Invalid one-time authentication code."})
            return {"token": f"whole.{username}"}
        if (kind, step) != ("Bearer", "whole"):
            raise Refused(401, {"message": "Invalid token"})
        if name == "POST proj/create":
            return self._create(body)
        if name == "GET proj/list":
            row = {"Project ID": PROJECT, "Status": self.status, "Access": self.access}
            return {"project_info": [row]}
        if parse_qs(scope["query_string"].decode()).get("project") != [PROJECT]:
            raise Refused(400, {"message": "The specified project does not exist."})
        return self._within_project(name, username, body)

    def _first_factor(self, kind: str, credential: str) -> object:
        username, _, password = base64.b64decode(credential).decode("latin-1").partition(":")
        if kind != "Basic" or PASSWORDS.get(username) != password:
            raise Refused(401, {"message": "Missing or incorrect credentials"})
        return {"message": "", "token": f"partial.{username}", "secondfactor_method": "HOTP"}

    def _create(self, body: Any) -> object:
        if body["users_to_add"] != [{"email": "r@uni.example", "role": "Researcher"}]:
            raise Refused(400, {"message": "Invalid user role."})
        return {"project_id": PROJECT, "user_addition_statuses": ["given access"]}

    def _within_project(self, name: str, username: str, body: Any) -> object:
        role = "sender" if self.status == "In Progress" else "researcher"
        if username != role and name != "PUT file/update":
            raise Refused(400, {"message": "Project not in right status to upload/modify files."})
        match name:
            case "GET s3/proj":
                keys = {"access_key": "an access key of 20", "secret_key": "a secret key"}
                return {"safespring_project": "", "url": self.url, "keys": keys, "bucket": BUCKET}
            case "GET proj/public":
                return {"public": self.key.public_key().public_bytes_raw().hex().upper()}
            case "GET proj/private":
                return {"private": self.key.private_bytes_raw().hex().upper()}
            case "GET file/match":
                return {"files": {n: "known" for n in body if n in self.files} or None}
            case "POST file/new":
                self.files[body["name"]] = body
            case "POST proj/status":
                self.status = body["new_status"]
            case "GET file/all/info":
                return {"files": {name: self._file(row) for name, row in self.files.items()}}
            case "PUT file/update":
                self.updated.append(body["name"])
            case "POST proj/upload/complete":
                pass
            case _:
                raise Refused(405, {"message": "The method is not allowed for the requested URL."})
        return {"message": f"{name} done"}

    def _file(self, row: dict[str, Any]) -> object:
        renamed = {"size_original": row["size"], "size_stored": row["size_processed"]}
        return row | renamed | {"url": f"{self.url}/{BUCKET}/{row['name_in_bucket']}"}


@asynccontextmanager
async def serving(service: ServiceDouble) -> AsyncIterator[ServiceDouble]:
    """Serve on a free port of the loopback address and say which in ``service.url``."""
    # asyncio sets TCP_NODELAY only where the protocol is named; without it an answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    service.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(service, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield service
    finally:
        await server.shutdown(sockets=[listener])
