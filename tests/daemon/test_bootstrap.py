"""The composition: which parts the settings lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsd import bootstrap
from ddsd.clock import SystemClock
from ddsd.errors import ConfigurationError
from ddsd.mail.kept import KeptTransport
from ddsd.mail.smtp import SmtpTransport
from ddsd.secret import SecretText
from ddsd.settings import Instance, MailKind, MailSection, Security, Settings, Store, StoreKind
from ddsd.storage.embedded import EmbeddedStore
from ddsd.storage.iam import IamStore
from ddsd.storage.minio import S3Store


def secret(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(0o600)
    return path


async def test_a_demo_gets_everything_on_this_machine(tmp_path: Path) -> None:
    services = bootstrap.build(Settings(instance=Instance(demo=True, state_dir=tmp_path)))
    assert isinstance(services.store, EmbeddedStore)
    assert isinstance(services.post, KeptTransport)
    assert services.database.is_sqlite
    services.deriver.close()
    await services.database.close()


async def test_a_demos_instance_key_outlives_it(tmp_path: Path) -> None:
    settings = Settings(instance=Instance(demo=True, state_dir=tmp_path))
    sealed = bootstrap.build(settings).instance_key.seal(b"x", "test")
    again = bootstrap.build(settings).instance_key
    assert again.open(sealed, "test").reveal() == b"x"


async def test_servers_that_are_configured_are_used(tmp_path: Path) -> None:
    bootstrap.new_instance_key(tmp_path / "instance.key")
    services = bootstrap.build(
        Settings(
            instance=Instance(state_dir=tmp_path, key_file=tmp_path / "instance.key"),
            store=Store(
                kind=StoreKind.S3,
                endpoint="http://127.0.0.1:9",
                public_endpoint="https://s3.example.org",
                access_key="key",
                secret_key_file=secret(tmp_path, "s3", "s3-secret"),
            ),
            mail=MailSection(kind=MailKind.SMTP, sender="dds@example.org"),
            security=Security(argon2_memory_kib=8192, argon2_iterations=1, argon2_lanes=1),
        )
    )
    assert isinstance(services.store, S3Store)
    assert services.store.public_endpoint == "https://s3.example.org"
    assert isinstance(services.post, SmtpTransport)
    assert services.deriver.cost.memory_kib == 8192


async def test_store_with_an_iam_service_makes_its_keys_there(tmp_path: Path) -> None:
    services = bootstrap.build(
        Settings(
            instance=Instance(demo=True, state_dir=tmp_path),
            store=Store(
                kind=StoreKind.S3,
                endpoint="http://127.0.0.1:9",
                iam_endpoint="http://127.0.0.1:10",
                access_key="key",
                secret_key_file=secret(tmp_path, "s3", "s3-secret"),
            ),
        )
    )
    assert isinstance(services.store, IamStore)
    services.deriver.close()
    await services.database.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_file_of_a_ca_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = Settings(instance=Instance(demo=True, state_dir=tmp_path), store=Store(ca_file=file))
    for look in (bootstrap.check, bootstrap.build):
        with pytest.raises(ConfigurationError, match=r"store\.ca_file: .*ca\.pem"):
            look(settings)


async def test_a_replacement_is_used_as_it_is(tmp_path: Path) -> None:
    clock, post = SystemClock(), KeptTransport()
    services = bootstrap.build(
        Settings(instance=Instance(demo=True, state_dir=tmp_path)), clock=clock, post=post
    )
    assert services.clock is clock
    assert services.post is post


def test_an_unknown_replacement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="stroe"):
        bootstrap.build(Settings(instance=Instance(demo=True, state_dir=tmp_path)), stroe=None)


def test_without_demo_there_must_be_an_instance_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ddsd new-instance-key"):
        bootstrap.build(Settings(instance=Instance(state_dir=tmp_path)))


@pytest.mark.parametrize("text", ["0" * 64, "f" * 64, "A" * 43, "ab" * 31, "no key at all"])
def test_an_instance_key_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    key_file = secret(tmp_path, "key", text)
    with pytest.raises(ConfigurationError, match=r"instance\.key_file: .*new-instance-key") as no:
        bootstrap.build(Settings(instance=Instance(state_dir=tmp_path, key_file=key_file)))
    assert text not in no.value.message


def test_a_new_instance_key_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    bootstrap.new_instance_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SecretText(path.read_text()) != SecretText("")


def test_a_bell_rings_where_it_is_connected() -> None:
    rung: list[str] = []
    bell = bootstrap.JobBell()
    bell()
    bell.connect(lambda: rung.append("woken"))
    bell()
    assert rung == ["woken"]
