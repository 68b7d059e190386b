"""The certificate of the public plane: read, checked, shown, and taken anew while connections go on.

Invariant: a certificate is shown only after it was checked as a whole, together with its key. A new one is shown to
those who connect from then on, or the one before goes on being shown: nothing in between.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ddsd.clock import Clock
from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText
from ddsd.settings import Listen, read_secret

WARN_BEFORE: Final = timedelta(days=14)
LOOK_EVERY_S: Final = 1.0
_CERTIFICATE: Final = "listen.tls_certificate_file"
_KEY: Final = "listen.tls_key_file"
# For TLS 1.2; all suites of 1.3 are of this kind: forward secrecy, authenticated encryption.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_Look = tuple[tuple[int, int, int] | None, ...]

_log = structlog.get_logger()


@dataclass(frozen=True)
class Certificate:
    """A server's certificate. ``names``: the hosts it is for; ``expires_at``: UTC."""

    names: tuple[str, ...]
    expires_at: datetime

    def warning(self, now: datetime) -> str:
        """Say that it must be renewed soon, or nothing."""
        if self.expires_at - now > WARN_BEFORE:
            return ""
        return f"the certificate {_until(self.expires_at, now)}: renew it"


def check(listen: Listen, now: datetime, environment: Mapping[str, str] | None = None) -> str:
    """Look at the certificate and its key, if any are configured; return what :meth:`Certificate.warning` says.

    Raises:
        ConfigurationError: as :class:`Shown` does.
    """
    if listen.tls_certificate_file is None:
        return ""
    return _read(listen, now, environment)[0].warning(now)


class Shown:
    """The certificate that is shown now.

    Args:
        listen: names the files.
        clock: tells whether a certificate is valid.

    Raises:
        ConfigurationError: a file cannot be read or parsed, they do not belong together, the chain is out of order,
            or the certificate is not valid now.
    """

    def __init__(self, listen: Listen, clock: Clock) -> None:
        self._listen = listen
        self._clock = clock
        self._seen = self._tried = _look(listen)
        self._warned_on: date | None = None
        self.problem = ""
        self.certificate, self._context = _read(listen, clock.now())
        # A context that is in use cannot be given another certificate safely: a handshake is given another context.
        self.context = _context()
        self.context.sni_callback = self._choose
        self._warn()

    def take_anew(self) -> None:
        """Read the files again; what is wrong with them is logged, and the certificate before stays."""
        self._seen = self._tried = _look(self._listen)
        try:
            self.certificate, self._context = _read(self._listen, self._clock.now())
        except ConfigurationError as wrong:
            self.problem = wrong.message
            _log.error("tls.certificate_kept", why=wrong.message)
            return
        self.problem = ""
        _log.info("tls.certificate_taken", names=self.certificate.names, until=self._until())
        self._warn()

    async def watch(self) -> None:
        """Take the certificate anew when its files have changed and stand still again; never returns."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            before, self._seen = self._seen, _look(self._listen)
            if self._seen == before and self._seen != self._tried:
                self.take_anew()
            elif self._clock.now().date() != self._warned_on:
                self._warn()

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._context

    def _warn(self) -> None:
        now = self._clock.now()
        self._warned_on = now.date()
        if words := self.certificate.warning(now):
            _log.warning("tls.certificate_ends", why=words, until=self._until())

    def _until(self) -> str:
        return f"{self.certificate.expires_at:%Y-%m-%d %H:%M} UTC"


def _read(
    listen: Listen, now: datetime, environment: Mapping[str, str] | None = None
) -> tuple[Certificate, ssl.SSLContext]:
    file = listen.tls_certificate_file
    if file is None:
        raise ConfigurationError(f"{_CERTIFICATE}: no certificate is named")
    pem = _content(file)
    chain = _chain(file, pem)
    key = read_secret(_KEY, listen.tls_key_file, environment)
    if key is None:
        raise ConfigurationError(f"{_KEY}: name the file that holds the certificate's private key")
    _require_together(listen, chain, key)
    _require_in_order(file, chain)
    _require_valid_at(now, file, chain[0])
    context = _context()
    _load(context, pem, key)
    return Certificate(_names(chain[0]), chain[0].not_valid_after_utc), context


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as wrong:
        raise ConfigurationError(f"{_CERTIFICATE}: cannot read {file}: {wrong.strerror}") from wrong


def _chain(file: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as wrong:
        raise ConfigurationError(
            f"{_CERTIFICATE}: {file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ) from wrong


def _require_together(listen: Listen, chain: list[x509.Certificate], key: SecretText) -> None:
    public = _public_key(key)
    matching = [place for place, one in enumerate(chain) if _public_key_of(one) == public]
    if not matching:
        raise ConfigurationError(
            f"{_KEY}: this is not the key of the certificate in {listen.tls_certificate_file}:"
            " name the two files that were made together"
        )
    if matching[0] != 0:
        raise _out_of_order(listen.tls_certificate_file)


def _public_key(key: SecretText) -> bytes:
    try:
        private = load_pem_private_key(key.text().encode(), password=None)
    except TypeError as wrong:
        raise ConfigurationError(
            f"{_KEY}: the key is encrypted, and nobody types its password at a start:"
            " take it off with `openssl pkey -in FILE -out NEW`"
        ) from wrong
    except ValueError as wrong:
        raise ConfigurationError(
            f"{_KEY}: this is no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
        ) from wrong
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_key_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _require_in_order(file: Path, chain: list[x509.Certificate]) -> None:
    for one, issuer in pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as wrong:
            raise _out_of_order(file) from wrong


def _out_of_order(file: Path | None) -> ConfigurationError:
    return ConfigurationError(
        f"{_CERTIFICATE}: the certificates in {file} are out of order: the server's own comes first,"
        " then each one's issuer"
    )


def _require_valid_at(now: datetime, file: Path, own: x509.Certificate) -> None:
    if own.not_valid_after_utc <= now:
        raise ConfigurationError(
            f"{_CERTIFICATE}: the certificate in {file} {_until(own.not_valid_after_utc, now)}:"
            " renew it"
        )
    if own.not_valid_before_utc > now:
        raise ConfigurationError(
            f"{_CERTIFICATE}: the certificate in {file} is valid from"
            f" {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, and here it is {now:%Y-%m-%d %H:%M} UTC:"
            " look at the clock"
        )


def _until(end: datetime, now: datetime) -> str:
    verb = "expires" if end > now else "expired"
    return f"{verb} on {end:%Y-%m-%d %H:%M} UTC"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *map(str, addresses))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, chain: bytes, key: SecretText) -> None:
    """Load what was checked, not what is in the files by now; Python's ssl takes files only."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(chain.rstrip() + b"\n" + key.text().encode() + b"\n")
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as wrong:
            raise ConfigurationError(
                f"{_CERTIFICATE}: the certificate cannot be used: {wrong.reason}"
            ) from wrong


def _look(listen: Listen) -> _Look:
    return tuple(_identity(one) for one in (listen.tls_certificate_file, listen.tls_key_file))


def _identity(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
