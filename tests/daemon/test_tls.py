"""The public plane's own TLS: what certificate is shown, when it changes, and what is refused."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ddsd import tls
from ddsd.errors import ConfigurationError
from ddsd.settings import Listen
from tests.daemon.process import PATIENCE_S, Daemon, Place, wait_until
from tests.parts.certificates import Authority, Pair

Start = Callable[..., Daemon]
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def start_tls(authority: Authority, place: Place, start: Start) -> Callable[[], Daemon]:
    """Start a daemon with a certificate for the loopback address."""

    def begin() -> Daemon:
        authority.issue(LOOPBACK).write(place.directory)
        return start(**variables(place)).ready()

    return begin


def variables(place: Place) -> dict[str, str]:
    return {
        "DDSD_LISTEN__TLS_CERTIFICATE_FILE": str(place.directory / "server.crt"),
        "DDSD_LISTEN__TLS_KEY_FILE": str(place.directory / "server.key"),
    }


def client(place: Place, authority: Authority) -> httpx.Client:
    return httpx.Client(
        base_url=f"https://{LOOPBACK}:{place.port}",
        verify=authority.trusting(),
        timeout=PATIENCE_S,
        trust_env=False,
    )


def shown_by(place: Place, authority: Authority) -> bytes:
    """Shake hands without naming a host, as the stock client of an address does; return the certificate."""
    with (
        socket.create_connection((LOOPBACK, place.port), PATIENCE_S) as bare,
        authority.trusting().wrap_socket(bare, server_hostname=LOOPBACK) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def listen_with(pair: Pair, directory: Path) -> Listen:
    certificate, key = pair.write(directory)
    return Listen(tls_certificate_file=certificate, tls_key_file=key)


def test_it_serves_over_tls_with_the_whole_chain_and_nothing_in_the_clear(
    start_tls: Callable[[], Daemon], place: Place, authority: Authority
) -> None:
    daemon = start_tls()
    with client(place, authority) as over_tls:
        assert over_tls.get("/status").json() == {"status": "ready"}
    with daemon.public() as in_the_clear, pytest.raises(httpx.TransportError):
        in_the_clear.get("/status")
    assert "Traceback" not in daemon.log


def test_it_speaks_nothing_older_than_tls_1_2(
    start_tls: Callable[[], Daemon], place: Place, authority: Authority
) -> None:
    start_tls()
    old = authority.trusting()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((LOOPBACK, place.port), PATIENCE_S) as bare,
        pytest.raises(OSError, match=r"PROTOCOL_VERSION|alert protocol|EOF"),
    ):
        old.wrap_socket(bare, server_hostname=LOOPBACK)
    modern = authority.trusting()
    modern.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((LOOPBACK, place.port), PATIENCE_S) as bare,
        modern.wrap_socket(bare, server_hostname=LOOPBACK) as secured,
    ):
        cipher = secured.cipher()
        assert cipher is not None
        assert cipher[0].startswith("ECDHE-")


@pytest.mark.parametrize("how", ["the files change", "SIGHUP"])
def test_a_new_certificate_is_shown_and_open_connections_stay(
    how: str, start_tls: Callable[[], Daemon], place: Place, authority: Authority
) -> None:
    daemon = start_tls()
    before = shown_by(place, authority)
    with client(place, authority) as open_before:
        open_before.get("/status")
        authority.issue(LOOPBACK).write(place.directory)
        if how == "SIGHUP":
            daemon.tell(signal.SIGHUP)
        wait_until(lambda: bool(daemon.events("tls.certificate_taken")), "a new certificate")
        assert shown_by(place, authority) != before
        stream = open_before.get("/status").extensions["network_stream"]
        tls_object = stream.get_extra_info("ssl_object")
        assert tls_object.getpeercert(True) == before


def test_a_broken_new_certificate_is_not_taken_and_told_of(
    start_tls: Callable[[], Daemon], place: Place, authority: Authority
) -> None:
    daemon = start_tls()
    before = shown_by(place, authority)
    (place.directory / "server.crt").write_text("-----BEGIN CERTIFICATE-----\nhalf wri")
    daemon.tell(signal.SIGHUP)
    wait_until(lambda: bool(daemon.events("tls.certificate_kept")), "the refusal is logged")
    assert shown_by(place, authority) == before
    told = str(daemon.events("tls.certificate_kept")[0]["why"])
    assert told.startswith("listen.tls_certificate_file: ")
    told_to_operator = subprocess.run(
        [sys.executable, "-m", "ddsctl", "--socket", str(place.socket), "status"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "A NEWER ONE WAS NOT TAKEN" in told_to_operator
    authority.issue(LOOPBACK).write(place.directory)
    wait_until(lambda: bool(daemon.events("tls.certificate_taken")), "the mended one is taken")
    with daemon.admin() as admin:
        assert admin.get("/1/status").json()["certificate"]["problem"] == ""


def test_a_certificate_that_ends_soon_is_warned_of(
    place: Place, start: Start, authority: Authority
) -> None:
    authority.issue(LOOPBACK, valid=(NOW - HOUR, NOW + timedelta(days=13))).write(place.directory)
    daemon = start(**variables(place)).ready()
    assert len(daemon.events("tls.certificate_ends")) == 1
    with daemon.admin() as admin:
        status = admin.get("/1/status").json()["certificate"]
    assert status["names"] == [LOOPBACK]
    assert "renew it" in status["warning"]
    checked = place.run("check-config", config=True, **variables(place))
    assert checked.returncode == 0
    assert "renew it" in checked.stderr


def test_a_wrong_certificate_stops_the_start_and_check_config(
    place: Place, authority: Authority
) -> None:
    authority.issue(LOOPBACK).write(place.directory)
    authority.issue(LOOPBACK).write(place.directory, "other")
    (place.directory / "other.key").rename(place.directory / "server.key")
    for command, code in (("serve", 78), ("check-config", 1)):
        refused = place.run(command, config=True, **variables(place))
        assert refused.returncode == code
        assert "listen.tls_key_file: this is not the key of the certificate in" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("valid", "said"),
    [
        ((NOW - 2 * HOUR, NOW - HOUR), "expired on"),
        ((NOW + HOUR, NOW + 2 * HOUR), "look at the clock"),
    ],
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    valid: tuple[datetime, datetime], said: str, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        tls.check(listen_with(authority.issue(LOOPBACK, valid=valid), tmp_path), NOW)


def test_a_chain_out_of_order_is_refused(authority: Authority, tmp_path: Path) -> None:
    backwards = authority.issue(LOOPBACK, backwards=True)
    with pytest.raises(ConfigurationError, match="the server's own comes first"):
        tls.check(listen_with(backwards, tmp_path), NOW)
    pair = authority.issue(LOOPBACK)
    stranger = Pair(pair.chain + Authority().root, pair.key)
    with pytest.raises(ConfigurationError, match="then each one's issuer"):
        tls.check(listen_with(stranger, tmp_path), NOW)


def test_a_key_that_cannot_be_used_is_refused_with_the_cure(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue(LOOPBACK)
    encrypted = load_pem_private_key(pair.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ConfigurationError, match="openssl pkey"):
        tls.check(listen_with(Pair(pair.chain, encrypted), tmp_path), NOW)
    with pytest.raises(ConfigurationError, match="no private key in PEM form"):
        tls.check(listen_with(Pair(pair.chain, b"not a key"), tmp_path), NOW)
    listen = listen_with(pair, tmp_path)
    (tmp_path / "server.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 0600"):
        tls.check(listen, NOW)


def test_files_that_are_not_there_or_hold_something_else_are_named(
    authority: Authority, tmp_path: Path
) -> None:
    pair = authority.issue(LOOPBACK)
    with pytest.raises(ConfigurationError, match="holds no certificate in PEM form"):
        tls.check(listen_with(Pair(pair.key, pair.key), tmp_path), NOW)
    listen = listen_with(pair, tmp_path)
    (tmp_path / "server.crt").unlink()
    with pytest.raises(ConfigurationError, match=r"listen.tls_certificate_file: cannot read"):
        tls.check(listen, NOW)


def test_the_key_may_be_a_systemd_credential(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue(LOOPBACK).write(tmp_path)
    key.rename(tmp_path / "tls-key")
    listen = Listen(tls_certificate_file=certificate)
    tls.check(listen, NOW, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    with pytest.raises(ConfigurationError, match=r"listen.tls_key_file: name the file"):
        tls.check(listen, NOW, {})


def test_a_hangup_takes_the_logs_level_and_names_what_waits_for_a_restart(
    place: Place, start: Start
) -> None:
    daemon = start().ready()
    with daemon.public() as public:
        public.get("/status")
        daemon.requests(1)
        place.config.write_text(
            place.config.read_text().replace("[log]", '[log]\nlevel = "warning"')
            + '[instance]\nfacility = "x"\n'
        )
        daemon.tell(signal.SIGHUP)
        wait_until(lambda: bool(daemon.events("daemon.reload_refused")), "the refusal")
        assert "the section [instance] is there twice" in str(
            daemon.events("daemon.reload_refused")[0]["why"]
        )
        place.config.write_text(
            place.config.read_text()
            .replace('[instance]\nfacility = "x"\n', "")
            .replace("drain_s = 10", "drain_s = 11")
        )
        daemon.tell(signal.SIGHUP)
        wait_until(lambda: bool(daemon.events("daemon.restart_needed")), "the hangup is followed")
        assert daemon.events("daemon.restart_needed")[0]["settings"] == ["listen.drain_s"]
        assert public.get("/status").status_code == 200
        daemon.tell(signal.SIGTERM)
        assert daemon.exit_code() == 0
    assert len(daemon.events("request")) == 1


def test_nothing_is_said_in_the_clear_beyond_this_machine(place: Place) -> None:
    refused = place.run("serve", DDSD_LISTEN__ADDRESS="0.0.0.0")
    assert refused.returncode == 78
    assert "listen.tls_certificate_file" in refused.stderr
    assert "listen.allow_cleartext = true" in refused.stderr


def test_who_insists_may_listen_in_the_clear(place: Place, start: Start) -> None:
    daemon = start(DDSD_LISTEN__ADDRESS="0.0.0.0", DDSD_LISTEN__ALLOW_CLEARTEXT="true").ready()
    with daemon.public() as public, daemon.admin() as admin:
        assert public.get("/status").status_code == 200
        assert admin.get("/1/status").json()["certificate"] is None
