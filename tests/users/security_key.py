"""A security key in software: it makes ES256 credentials and signs challenges as W3C Web Authentication describes.

It answers options as a browser does, in JSON, and can be told to misbehave.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

USER_PRESENT, ATTESTED = 0x01, 0x40


@dataclass
class SecurityKey:
    """One credential. ``counts`` says whether it keeps a signature counter."""

    origin: str = "http://localhost:5000"
    counts: bool = True
    counter: int = 0
    credential_id: bytes = field(default_factory=lambda: os.urandom(16))
    user_handle: bytes | None = None
    flags: int = USER_PRESENT

    def __post_init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> bytes:
        """The public key as COSE (RFC 9053, section 7.1.1)."""
        point = self._private.public_key().public_numbers()
        x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})

    def create(self, options: str) -> str:
        """Answer ``navigator.credentials.create``."""
        asked = json.loads(options)
        data = self._authenticator_data(asked["rp"]["id"], ATTESTED) + self._attested()
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client_data("webauthn.create", asked["challenge"])
        return self._credential(
            {"clientDataJSON": encoded(client), "attestationObject": encoded(attestation)}
        )

    def get(self, options: str) -> str:
        """Answer ``navigator.credentials.get``."""
        asked = json.loads(options)
        self.counter += self.counts
        data = self._authenticator_data(asked["rpId"])
        client = self._client_data("webauthn.get", asked["challenge"])
        signature = self._private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": encoded(client),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
        }
        if self.user_handle is not None:
            response["userHandle"] = encoded(self.user_handle)
        return self._credential(response)

    def _credential(self, response: dict[str, Any]) -> str:
        name = encoded(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _authenticator_data(self, rp_id: str, flags: int = 0) -> bytes:
        rp_hash = hashlib.sha256(rp_id.encode()).digest()
        return rp_hash + bytes([self.flags | flags]) + self.counter.to_bytes(4, "big")

    def _attested(self) -> bytes:
        length = len(self.credential_id).to_bytes(2, "big")
        return bytes(16) + length + self.credential_id + self.public_key


def encoded(value: bytes) -> str:
    """Return base64url without padding, as browsers write it."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
