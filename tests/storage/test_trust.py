"""Whom we trust to be a store: tried with a real connection that shows a certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ddsd.storage.trust import trusting
from tests.parts.certificates import Authority

HOST = "store.example"


@pytest.fixture
def authority() -> Authority:
    return Authority()


def shake_hands(authority: Authority, client: ssl.SSLContext, directory: Path) -> None:
    """Let a client and a server with a certificate of the authority talk, in memory, until they agree.

    Raises:
        ssl.SSLCertVerificationError: the client does not trust the server.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue(HOST).write(directory))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=HOST)
    theirs = server.wrap_bio(there, back, server_side=True)
    waiting = [ours, theirs]
    while waiting:
        for one in tuple(waiting):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(one)


def test_the_facilitys_own_ca_is_trusted_if_it_is_named(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.root)
    shake_hands(authority, trusting(tmp_path / "ca.pem"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, trusting(None), tmp_path)


def test_what_the_machine_trusts_stays_trusted_beside_it(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, own = Authority(), authority
    (tmp_path / "machine.pem").write_bytes(public.root)
    (tmp_path / "ca.pem").write_bytes(own.root)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "machine.pem"))
    for one in (public, own):
        shake_hands(one, trusting(tmp_path / "ca.pem"), tmp_path)
