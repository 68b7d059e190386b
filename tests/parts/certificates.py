"""Certificates of an authority that only one test knows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Pair:
    """A certificate with its issuers, and its key, both PEM."""

    chain: bytes
    key: bytes

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write both as a certificate program does: each file in one step; return where they are."""
        places = directory / f"{name}.crt", directory / f"{name}.key"
        for place, content in zip(places, (self.chain, self.key), strict=True):
            fresh = place.with_suffix(".new")
            fresh.write_bytes(content)
            fresh.chmod(0o600)
            fresh.rename(place)
        return places


class Authority:
    """An authority with a second one below it, which signs the servers' certificates."""

    def __init__(self) -> None:
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        self._root = _signed("root", self._root_key, "root", self._root_key, _years(now), ca=True)
        self._own = _signed("between", self._key, "root", self._root_key, _years(now), ca=True)

    @property
    def root(self) -> bytes:
        """What a client must be told to trust, PEM."""
        return self._root.public_bytes(Encoding.PEM)

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.root.decode())

    def issue(
        self,
        *names: str,
        valid: tuple[datetime, datetime] | None = None,
        backwards: bool = False,
    ) -> Pair:
        """Issue a certificate for host names and addresses; ``backwards``: its issuer stands first."""
        key = ec.generate_private_key(ec.SECP256R1())
        period = valid or _years(datetime.now(UTC))
        own = _signed(names[0], key, "between", self._key, period, ca=False, names=names)
        chain = (self._own, own) if backwards else (own, self._own)
        return Pair(
            b"".join(one.public_bytes(Encoding.PEM) for one in chain),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )


def _years(now: datetime) -> tuple[datetime, datetime]:
    return now - timedelta(days=1), now + YEAR


def _signed(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    valid: tuple[datetime, datetime],
    *,
    ca: bool,
    names: tuple[str, ...] = (),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(one) for one in names]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
