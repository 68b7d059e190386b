"""The configuration: its reference, its order, and how it says what is wrong."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText
from ddsd.settings import (
    CREDENTIALS,
    LogFormat,
    Settings,
    StoreKind,
    load,
    may_be_there,
    read_secret,
    read_secrets,
)

REFERENCE = Path(__file__).parents[1] / "config" / "ddsd.toml"


def written(directory: Path, text: str) -> Path:
    path = directory / "ddsd.toml"
    path.write_text(text)
    return path


def secret_file(directory: Path, name: str, text: str = "s3cret-value", mode: int = 0o600) -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_reference_names_every_key() -> None:
    named = {
        f"{section}.{key}"
        for section, keys in tomllib.loads(REFERENCE.read_text()).items()
        for key in keys
    }
    assert named == {
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key in type(field.default).model_fields
    }


def test_the_reference_states_the_defaults() -> None:
    assert load(REFERENCE, {}) == Settings()


def test_every_key_of_the_reference_is_explained() -> None:
    explained, stray = False, []
    for line in REFERENCE.read_text().splitlines():
        if not line or line.startswith("["):
            explained = False
        elif line.startswith("#"):
            explained = True
        elif not explained:
            stray.append(line)
    assert stray == []


def test_the_reference_names_every_credential() -> None:
    text = REFERENCE.read_text()
    assert [name for name in CREDENTIALS.values() if name not in text] == []


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[listen]\nport = 5001\n[log]\nformat = "console"\n')
    settings = load(
        path,
        {
            "DDSD_LISTEN__PORT": "5002",
            "DDSD_LOG__FORMAT": "json",
            "DDSD_INSTANCE__DEMO": "true",
            "DDSD_LISTEN__TRUSTED_PROXIES": "10.0.0.1, fd00::/8",
        },
    )
    assert settings.listen.port == 5002
    assert settings.log.format is LogFormat.JSON
    assert settings.instance.demo is True
    assert settings.listen.trusted_proxies == ("10.0.0.1/32", "fd00::/8")


def test_variables_of_the_tests_are_not_ours(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {"DDSD_TEST_MINIO": "x", "HOME": "/"}) == Settings()


def test_an_empty_path_means_none() -> None:
    assert load(REFERENCE, {"DDSD_STORE__DIRECTORY": ""}).store.directory is None


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("[listen]\nprot = 1\n", {}, "unknown key listen.prot"),
        ("[lisen]\nport = 1\n", {}, "unknown key lisen"),
        ("port = 1\n", {}, "unknown key port: every key is in a [section]"),
        ("", {"DDSD_LISTEN__PROT": "1"}, "DDSD_LISTEN__PROT: unknown key listen.prot"),
        ("", {"DDSD_LISEN__PORT": "1"}, "DDSD_LISEN__PORT: unknown key lisen"),
        ("", {"DDSD_LISTEN__PORT": "high"}, "DDSD_LISTEN__PORT: listen.port: "),
        ("[listen]\nport = 70000\n", {}, "listen.port: "),
        ('[listen]\naddress = "localhost"\n', {}, "listen.address: localhost is no IP address"),
        ('[listen]\nadmin_socket = "x.sock"\n', {}, "listen.admin_socket: x.sock must be an abs"),
        (f'[listen]\nadmin_socket = "/{"x" * 107}"\n', {}, "is longer than the 107 bytes"),
        ('[listen]\ntrusted_proxies = ["*"]\n', {}, "listen.trusted_proxies.0: * is neither"),
        ('[listen]\naddress = "0.0.0.0"\n', {}, "would pass 0.0.0.0 in the clear"),
        ('[listen]\naddress = "192.0.2.1"\n', {}, "set listen.allow_cleartext = true"),
        ('[store]\naddress = "0.0.0.0"\n', {}, "ddsd.toml: store.address: download"),
        ('[store]\naddress = "here"\n', {}, "store.address: here is no IP address"),
        ('[listen]\ntls_key_file = "k"\n', {}, "name that in listen.tls_certificate_file"),
        ('[instance]\npublic_url = "dds.example.org"\n', {}, "instance.public_url: "),
        ('[instance]\npublic_url = "https://a.org/"\n', {}, "give only https://a.org,"),
        ('[instance]\npublic_url = "https://a.org:x"\n', {}, "has no usable port"),
        ('[instance]\npublic_url = ""\n', {}, "instance.public_url: "),
        ('[instance]\ncontact = "nobody"\n', {}, "instance.contact: nobody is no mail address"),
        ('[store]\nkind = "s3"\n', {}, "store: endpoint: must be set with kind"),
        ('[store]\nkind = "s3"\n', {}, "store: access_key: must be set with kind"),
        ('[store]\nkind = "tape"\n', {}, "store.kind: "),
        ('[store]\nendpoint = "http://a:9000"\n', {}, "only used with kind"),
        ('[store]\niam_endpoint = "http://[::1]:7"\n', {}, "iam_endpoint: only used with kind"),
        (
            '[store]\niam_endpoint = "http://a:7075"\n',
            {},
            "iam_endpoint: http://a:7075: the secrets",
        ),
        ('[mail]\nkind = "smtp"\n', {}, "mail: sender: must be set with kind"),
        ('[mail]\nkind = "smtp"\nhost = ""\nsender = "a@b"\n', {}, "mail: host: must be set"),
        ('[database]\nurl = "mysql://a/b"\n', {}, "database: url: use sqlite:///"),
        ("[database\n", {}, "ddsd.toml: line 1, column 10: a section's name ends with ]"),
        ('[log]\nlevel = "loud"\n', {}, "log.level: Input should be 'debug', 'info', 'warning' or"),
        ('[log]\nlevel = "info\n', {}, "line 2, column 14: a quote is opened and not closed"),
        ("[log]\n[log]\n", {}, "line 2, column 5: the section [log] is there twice"),
        ('[log]\nlevel = "a"\nlevel = "b"\n', {}, "line 3, column 12: this key is there twice"),
        ("[log]\nlevel = loud\n", {}, "line 2, column 9: this is no value: text stands in quotes"),
        ("[listen]\nport = 1 2\n", {}, "line 2, column 10: something follows the value"),
        ("[log]\nlevel\n", {}, "line 2, column 6: this needs to be: key = value"),
        ('[listen]\ndrain_s = "30s"\n', {}, "drain_s: must be a whole number, without quotes or"),
        ("[listen]\ndrain_s = 1.5\n", {}, "listen.drain_s: must be a whole number"),
        ("[listen]\nallow_cleartext = 7\n", {}, "allow_cleartext: must be true or false"),
        ("[instance]\nfacility = 7\n", {}, "instance.facility: must be text in quotes"),
        ('[listen]\ntrusted_proxies = "::1"\n', {}, "trusted_proxies: must be a list: ["),
        ('[usage]\nprice_gb_month = "9 EUR"\n', {}, "price_gb_month: must be a number, without"),
        ('[instance]\nstate_dir = "~/state"\n', {}, "state_dir: ~/state must be an absolute path"),
        ('[instance]\nstate_dir = ""\n', {}, "instance.state_dir: . must be an absolute path"),
        ('[instance]\nstate_dir = "/a\\u0000b"\n', {}, "must be an absolute path"),
        ('[store]\ndirectory = "objects"\n', {}, "store.directory: objects must be an absolute"),
        (f"[listen]\nport = {'[' * 9000}\n", {}, "too many brackets are opened in one another"),
        ("[listen]\nport = 50", {}, "the last line does not end: the file may be cut off"),
        (
            "",
            {"DDSD_LISTEN__TRUSTED_PROXIES": "127.0.0.1;::1"},
            "DDSD_LISTEN__TRUSTED_PROXIES: listen.trusted_proxies.0: ",
        ),
        ("", {"DDSD_PORT": "5"}, "DDSD_PORT: unknown variable; they are named DDSD_SECTION__KEY"),
    ],
)
def test_what_is_wrong_is_said_plainly(
    tmp_path: Path, text: str, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(written(tmp_path, text), environment)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# Prov från Umeå\n[log]\n".encode("latin-1"), "line 1 is not in UTF-8"),
        ('[log]\nlevel = "info"\n'.encode("utf-16"), "line 1 is not in UTF-8"),
        (b"[log]\nlevel = 'info' # \xe4\n", "line 2 is not in UTF-8"),
        (b"\0" * 4096, "line 1, column 1: this is neither key = value nor"),
    ],
    ids=["latin-1", "utf-16", "a comment", "zeros"],
)
def test_a_file_that_is_no_text_in_utf_8_is_named_with_the_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "ddsd.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        load(path, {})
    assert str(path) in refused.value.message


def test_a_byte_order_mark_and_line_ends_of_windows_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "ddsd.toml"
    path.write_bytes(b"\xef\xbb\xbf" + REFERENCE.read_bytes().replace(b"\n", b"\r\n"))
    assert load(path, {}) == load(REFERENCE, {})


def test_a_file_that_is_cut_off_anywhere_in_a_line_is_refused(tmp_path: Path) -> None:
    whole = '[listen]\nport = 5001\naddress = "127.0.0.1"\nallow_cleartext = true\n[log]\nlevel = "info"\n'
    for length in range(1, len(whole)):
        path = written(tmp_path, whole[:length])
        if whole[length - 1] == "\n":
            load(path, {})
        else:
            with pytest.raises(ConfigurationError, match=re.escape(str(path))):
                load(path, {})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "there is no configuration file"),
    ],
    ids=["directory", "loop", "dangling"],
)
def test_what_is_no_file_is_named_in_plain_words(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "ddsd.toml"
    make(path)
    with pytest.raises(ConfigurationError) as refused:
        load(path, {})
    assert said in refused.value.message
    assert str(path) in refused.value.message
    assert "Errno" not in refused.value.message


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    text = '[listen]\nport = -1\nprot = 2\n[store]\nkind = "s3"\n[mail]\nkind = "smtp"\n'
    with pytest.raises(ConfigurationError) as refused:
        load(written(tmp_path, text), {"DDSD_LOG__LEVEL": "loud"})
    lines = refused.value.message.splitlines()
    assert len(lines) == 6
    named = ("listen.port", "listen.prot", "endpoint", "access_key", "sender", "log.level")
    for key in named:
        assert sum(key in line for line in lines) == 1, key


def test_no_file_and_no_variable_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--config FILE"):
        load(None, {"HOME": "/", "DDSD_TEST_MINIO": "x"})


def test_variables_alone_are_a_configuration() -> None:
    assert load(None, {"DDSD_LISTEN__PORT": "5002"}).listen.port == 5002


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration file"):
        load(tmp_path / "absent.toml", {})


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ('[database]\nurl = "postgresql://ddsd:hunter2@db/ddsd"\n', {}),
        ("", {"DDSD_DATABASE__URL": "postgresql://ddsd:hunter2@db/ddsd"}),
        ('[mail]\npassword = "hunter2"\n', {}),
        ('[instance]\npublic_url = "https://me:hunter2@a.org"\n', {}),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(
    tmp_path: Path, text: str, environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(written(tmp_path, text), environment)
    assert "hunter2" not in refused.value.message
    assert "hunter2" not in repr(refused.value.__cause__)


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    path = secret_file(tmp_path, "key", "  s3cret-value\n")
    assert read_secret("instance.key_file", path, {}) == SecretText("s3cret-value")


def test_a_systemd_credential_is_used_when_the_key_is_empty(tmp_path: Path) -> None:
    secret_file(tmp_path, "instance-key", "from-systemd")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("instance.key_file", None, environment) == SecretText("from-systemd")
    assert read_secret("mail.password_file", None, environment) is None


def test_a_named_file_goes_before_the_systemd_credential(tmp_path: Path) -> None:
    secret_file(tmp_path, "instance-key", "from-systemd")
    path = secret_file(tmp_path, "mine", "from-file")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("instance.key_file", path, environment) == SecretText("from-file")


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, "x", "be read by everybody.*chmod 0640 .*chgrp ddsd .*chmod 0600"),
        (0o602, "x", "be changed by everybody.*chmod 0640"),
        (0o600, " \n", "is empty; put it back from your copy"),
    ],
)
def test_a_careless_secret_file_is_refused(tmp_path: Path, mode: int, text: str, said: str) -> None:
    path = secret_file(tmp_path, "key", text, mode)
    with pytest.raises(ConfigurationError, match=said):
        read_secret("instance.key_file", path, {})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "there is no file .*; put it back from your copy"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "holds something that is no text"),
    ],
    ids=["gone", "directory", "bytes"],
)
def test_a_secret_that_cannot_be_read_is_named_in_plain_words(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(path := tmp_path / "key")
    if path.is_file():
        path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=f"^instance.key_file: .*{said}") as refused:
        read_secret("instance.key_file", path, {})
    assert "Errno" not in refused.value.message


def test_every_missing_secret_is_named_with_what_to_do(tmp_path: Path) -> None:
    settings = load(
        written(
            tmp_path,
            '[store]\nkind = "s3"\nendpoint = "http://a:9000"\naccess_key = "k"\nread_only_access_key = "r"\n'
            '[mail]\nkind = "smtp"\nsender = "a@b.org"\nusername = "ddsd"\n'
            f'[database]\npassword_file = "{tmp_path}/absent"\n[listen]\ntls_certificate_file = "c"\n',
        ),
        {},
    )
    assert settings.store.kind is StoreKind.S3
    with pytest.raises(ConfigurationError) as refused:
        read_secrets(settings, {})
    said = dict(line.split(": ", 1) for line in refused.value.message.splitlines())
    assert set(said) == set(CREDENTIALS)
    assert "ddsd new-instance-key" in said["instance.key_file"]


def test_the_key_that_signs_links_is_not_the_one_that_writes(tmp_path: Path) -> None:
    section = '[store]\nkind = "s3"\nendpoint = "http://a:9000"\naccess_key = "k"\n'
    with pytest.raises(ConfigurationError, match="read_only_access_key: name another key"):
        load(written(tmp_path, f'{section}read_only_access_key = "k"\n'), {})


def test_a_demo_may_lack_its_instance_key(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[instance]\ndemo = true\n"), {})
    assert read_secrets(settings, {}).instance_key is None


def test_the_settings_can_be_shown_as_json() -> None:
    shown = json.loads(Settings().model_dump_json())
    assert shown["listen"]["admin_socket"] == "/run/ddsd/admin.sock"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_a_configuration_in_a_directory_that_is_closed_to_us_may_be_there(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    tmp_path.chmod(0o700)
    assert not may_be_there(tmp_path / "none")
    os.seteuid(65534)
    try:
        assert may_be_there(path)
        with pytest.raises(ConfigurationError, match="may not be read by this user: be root"):
            load(path, {})
    finally:
        os.seteuid(0)
