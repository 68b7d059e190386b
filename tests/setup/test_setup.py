"""``ddsctl setup``: by flags and at a terminal, against real servers, from nothing to a delivered file."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pexpect
import pytest
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import S3Error

from ddsd.errors import ConfigurationError
from ddsd.listeners import answers
from ddsd.secret import SecretText
from ddsd.settings import load, read_secrets
from ddsd.setup import files, store_account
from ddsd.setup.draft import Draft, Lent
from ddsd.setup.files import Account
from ddsd.setup.questions import STEPS, judged
from ddsd.setup.service import ServiceFailed
from tests.daemon.process import REPOSITORY, wait_until
from tests.parts.certificates import Authority
from tests.parts.minio_server import MinioServer
from tests.parts.ports import free_port
from tests.parts.smtp import MailServer, Step
from tests.setup.conftest import PATIENCE_S, US, Bare, environment

UNIT = (
    "--unit", "genomics", "--unit-name", "Genomics Core", "--unit-contact", "dna@example.org",
)  # fmt: skip
ADMIN = ("--admin", "sam", "--admin-name", "Sam Berg", "--admin-email", "sam@example.org")
whole = pytest.mark.skipif(
    not os.environ.get("DDSD_TEST_APPLIANCE"),
    reason="sets up a whole installation and delivers through it: set DDSD_TEST_APPLIANCE=1",
)
PASSWORD = "typed-and-not-shown-1"
REFERENCE = REPOSITORY / "config" / "ddsd.toml"


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def places(directory: Path) -> dict[str, str]:
    """Answer where things are kept, for what runs in this process."""
    return {
        "instance.state_dir": str(directory / "state"),
        "listen.admin_socket": str(directory / "run" / "s"),
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@whole
def test_by_flags_from_nothing_to_a_delivered_file_and_again(
    bare: Bare, mail_server: MailServer
) -> None:
    mail = {
        "mail__kind": "smtp",
        "mail__port": mail_server.port,
        "mail__security": "none",
        "mail__sender": "Deliveries <dds@example.org>",
    }
    first = bare.set_up(*UNIT, *ADMIN, instance__facility="Kärnan", **mail)
    assert first.code == 0, first.err
    assert "every byte was compared" in first.out
    assert "/set-password#" in first.out
    assert (mode(bare.config), mode(bare.key)) == (0o600, 0o600)
    assert comments(bare.config.read_text()) == comments(REFERENCE.read_text())
    assert bare.key.read_text().strip() not in first.out
    assert sorted(one.name for one in bare.config.parent.iterdir()) == ["ddsd.toml", "instance.key"]
    assert mail_server.to("sam@example.org") == ()  # the link is the operator's to give
    assert not list((bare.directory / "state" / "store" / "objects").iterdir())

    before, key = bare.config.read_text(), bare.key.read_text()
    again = bare.set_up("--no-trial", *UNIT, *ADMIN, instance__facility="Kärnan", **mail)
    assert again.code == 0, again.err
    assert "The configuration stays as it is." in again.out
    assert "✓ wrote" not in again.out
    assert "✓ made" not in again.out
    changed = bare.set_up("--no-trial", log__level="debug")
    assert changed.code == 0, changed.err
    assert bare.config.read_text() == before.replace('level = "info"', 'level = "debug"')
    assert bare.key.read_text() == key

    daemon = bare.daemon()
    try:
        wait_until(lambda: answers(bare.socket), "the daemon")
        assert [one["public_id"] for one in bare.ctl("unit", "ls")] == ["genomics"]
        users = [(one["username"], one["role"]) for one in bare.ctl("user", "ls")]
        assert users == [("sam", "super-admin")]
        made = next(one for one in bare.ctl("audit", "ls") if one["action"] == "unit.create")
        assert US in made["actor"]  # an operator, by name, as with ddsctl unit create
    finally:
        daemon.terminate()
        daemon.wait()


@whole
def test_killed_at_any_point_it_is_finished_by_running_it_again(bare: Bare) -> None:
    words = bare.words("--non-interactive", *UNIT, *ADMIN)
    key = ""
    for point in (f"✓ wrote {bare.key}", "… delivering a test file", "✓ made the unit"):
        kill_at(point, words)
        if not key:
            bare.config.unlink()  # the last that is written, so it may be missing beside the key
        assert mode(bare.key) == 0o600
        assert key in {"", bare.key.read_text()}  # never made anew
        key = bare.key.read_text()
    (bare.directory / "state" / "setup-killed").mkdir()  # as a trial has them that is killed
    finished = bare.set_up(*UNIT, *ADMIN)
    assert finished.code == 0, finished.err
    assert "every byte was compared" in finished.out
    assert "✓ made the super admin sam" in finished.out
    assert bare.key.read_text() == key
    assert sorted(one.name for one in bare.config.parent.iterdir()) == ["ddsd.toml", "instance.key"]
    assert not list((bare.directory / "state").glob("setup-*"))


def kill_at(point: str, words: list[str]) -> None:
    """Run a setup and kill it, with all it has started, as soon as it says something."""
    with subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        said = []
        for line in child.stdout:
            said.append(line)
            if line.startswith(point):
                break
        else:
            pytest.fail(f"{point} was not said: {said}")
        os.killpg(child.pid, signal.SIGKILL)


@whole
def test_with_minio_and_postgresql_nothing_of_the_trial_stays(
    bare: Bare, minio: MinioServer, postgres_url: str
) -> None:
    secret = bare.directory.with_name("secret")
    secret.touch(0o600)
    secret.write_text(minio.secret_key.text())
    done = bare.set_up(
        *UNIT,
        "--store-admin-key",
        minio.access_key,
        "--store-admin-secret-file",
        str(secret),
        database__url=postgres_url,
        store__kind="s3",
        store__endpoint=minio.endpoint,
    )
    assert done.code == 0, done.err
    assert "every byte was compared" in done.out
    written = load(bare.config, {})
    assert (written.database.url, written.store.access_key) == (postgres_url, "ddsd")
    assert "✓ made the user ddsd at the store, for our buckets" in done.out
    assert "for this unit's buckets alone" in done.out
    host = urlsplit(minio.endpoint).netloc
    root = Minio(host, minio.access_key, minio.secret_key.text(), secure=False)
    assert root.list_buckets() == []
    admin = administrator(minio)
    for user in (minio.access_key, "ddsd", "ddsd-genomics"):
        assert '"accessKey"' not in admin.list_service_account(user)
    assert set(json.loads(admin.user_list())) == {"ddsd", "ddsd-genomics"}
    secret_key = read_secrets(written).store_secret_key
    assert secret_key
    own = Minio(host, "ddsd", secret_key.text(), secure=False)
    with pytest.raises(S3Error, match="AccessDenied"):
        own.make_bucket("not-one-of-ours")
    kept = b"".join(one.read_bytes() for one in bare.directory.rglob("*") if one.is_file())
    assert minio.secret_key.text().encode() not in kept

    lent = ("--store-admin-key", minio.access_key, "--store-admin-secret-file", str(secret))
    again = bare.set_up("--no-trial", *lent)
    assert again.code == 0, again.err
    assert "✓ made" not in again.out
    admin.user_remove("ddsd")
    mended = bare.set_up("--no-trial", *lent)
    assert mended.code == 0, mended.err
    assert "✓ made the user ddsd" in mended.out


def administrator(minio: MinioServer) -> MinioAdmin:
    keys = StaticProvider(minio.access_key, minio.secret_key.text())
    return MinioAdmin(endpoint=urlsplit(minio.endpoint).netloc, credentials=keys, secure=False)


def test_a_lent_key_is_tried_in_place_of_the_account_that_is_not_there_yet(
    tmp_path: Path, minio: MinioServer
) -> None:
    answers = {"store__kind": "s3", "store__endpoint": minio.endpoint}
    draft = draft_with(tmp_path, **answers)
    draft.lend(Lent(minio.access_key, SecretText("not its secret")))
    (told,) = problems_of(draft, "The object store")
    assert told.startswith("store.endpoint: ")
    assert f"Asked with the key that is lent, {minio.access_key}" in told
    draft.lend(Lent(minio.access_key, minio.secret_key))
    assert problems_of(draft, "The object store") == []
    assert draft.settings().store.access_key == "ddsd"
    assert draft.secrets["store.secret_key_file"].text() != minio.secret_key.text()


def test_at_a_terminal_a_lent_key_is_asked_for_until_it_is_taken(
    bare: Bare, minio: MinioServer
) -> None:
    child = at_a_terminal(
        bare,
        "--dry-run",
        listen__tls_certificate_file="",
        listen__trusted_proxies="",
        store__kind="s3",
        store__endpoint=minio.endpoint,
    )
    child.expect_exact("to make accounts with; empty: none (not kept): ")
    child.sendline(minio.access_key)
    child.expect_exact("Its secret (not shown): ")
    child.sendline("mistyped-secret")
    child.expect_exact("own account [ddsd]: ")
    child.sendline("")
    child.expect_exact("✗ store.endpoint: ")
    child.expect_exact("embedded, or s3 (MinIO and others) [s3]: ")
    child.sendline("")
    child.expect_exact(f"[{minio.endpoint}]: ")
    child.sendline("")
    child.expect_exact("(not kept): ")
    child.sendline(minio.access_key)
    child.expect_exact("Its secret (not shown): ")
    child.sendline(minio.secret_key.text())
    child.expect_exact("own account [ddsd]: ")
    child.sendline("dds")
    child.expect_exact("reach the store; empty: the same []: ")
    child.sendline("")
    child.expect_exact("store.access_key = dds\r\n")
    child.expect_exact("Dry run: nothing was changed.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    assert not bare.directory.exists()


def test_a_lent_key_that_is_no_administrators_is_named(tmp_path: Path, minio: MinioServer) -> None:
    admin = administrator(minio)
    admin.user_add("somebody", "of-no-importance")
    admin.attach_policy(["readwrite"], user="somebody")
    draft = draft_with(tmp_path, store__kind="s3", store__endpoint=minio.endpoint)
    lent = Lent("somebody", SecretText("of-no-importance"))
    draft.lend(lent)
    with pytest.raises(ServiceFailed, match="with the key somebody: The object store refused"):
        store_account.ensure(draft.settings(), read_secrets(draft.trying()), lent)
    admin.user_remove("somebody")


def test_wrong_answers_are_all_named_and_nothing_is_made(
    bare: Bare, mail_server: MailServer, minio: MinioServer, postgres_url: str
) -> None:
    secret = bare.directory.with_name("secret")
    secret.touch(0o600)
    secret.write_text("not the secret of that key")
    mail_server.refuse(550, at=Step.RECIPIENT)
    refused = bare.set_up(
        instance__public_url="https://no-such-host.invalid",
        listen__admin_group="no-such-group",
        database__url=f"{postgres_url.rpartition('/')[0]}/no-such-database?{urlsplit(postgres_url).query}",
        store__kind="s3",
        store__endpoint=minio.endpoint,
        store__access_key=minio.access_key,
        store__secret_key_file=secret,
        mail__kind="smtp",
        mail__port=mail_server.port,
        mail__security="none",
        mail__sender="dds@example.org",
    )
    assert refused.code == 78
    lines = refused.err.splitlines()
    for key in (
        "instance.public_url: the name no-such-host.invalid leads to no address",
        "listen.admin_group: there is no group",
        "database.url: the database postgresql://",
        "store.endpoint: ",
        "mail.host: The mail server answered 550",
    ):
        assert [line for line in lines if line.startswith(f"ddsd: {key}")], (key, refused.err)
    assert len(lines) == 5
    assert "Traceback" not in refused.err
    assert not bare.directory.exists()


def test_answers_that_do_not_fit_the_configuration_are_named(bare: Bare) -> None:
    refused = bare.told(
        instance__contact="nobody", listen__address="0.0.0.0", mail__kind="smtp", store__kind="s3"
    )
    assert refused.code == 78
    for said in (
        "instance.contact: nobody is no mail address",
        "listen.allow_cleartext = true",
        "sender: must be set with kind",
        "endpoint: must be set with kind",
    ):
        assert said in refused.err
    assert str(REFERENCE) not in refused.err
    assert not bare.directory.exists()


def draft_with(directory: Path, **answers: object) -> Draft:
    scratch = directory / "scratch"
    scratch.mkdir()
    texts = {key.replace("__", "."): str(value) for key, value in answers.items()}
    return Draft(directory / "ddsd.toml", scratch, texts=places(directory) | texts)


def problems_of(draft: Draft, title: str) -> list[str]:
    return judged(draft, next(step for step in STEPS if step.title == title))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (told,) = problems_of(draft_with(tmp_path, listen__port=port), "The way in")
    assert f"listen.port: 127.0.0.1 port {port} is already in use" in told


def test_a_certificate_that_is_not_the_keys_is_named(tmp_path: Path) -> None:
    certificate, _ = Authority().issue("dds.example.org").write(tmp_path)
    _, key = Authority().issue("dds.example.org").write(tmp_path, "other")
    draft = draft_with(
        tmp_path,
        listen__tls_certificate_file=certificate,
        listen__tls_key_file=key,
        listen__port=0,
    )
    (told,) = problems_of(draft, "The way in")
    assert told.startswith("listen.tls_key_file: this is not the key of the certificate")


def test_a_store_or_a_mail_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("any")
    dead = free_port()
    draft = draft_with(
        tmp_path,
        store__kind="s3",
        store__endpoint=f"http://127.0.0.1:{dead}",
        store__access_key="any",
        store__secret_key_file=secret,
        store__public_endpoint="https://data.invalid",
        mail__kind="smtp",
        mail__port=dead,
        mail__security="none",
        mail__sender="dds@example.org",
    )
    names, away = problems_of(draft, "The object store")
    assert names.startswith("store.public_endpoint: the name data.invalid leads to no address")
    assert away.startswith("store.endpoint: ")
    (told,) = problems_of(draft, "Mail")
    assert told.startswith("mail.host: The mail server 127.0.0.1:")


def test_a_step_is_tried_while_a_later_one_is_not_answered_yet(tmp_path: Path) -> None:
    draft = draft_with(
        tmp_path, instance__public_url="https://no-such-host.invalid", store__kind="s3"
    )
    (told,) = problems_of(draft, "The service")
    assert "leads to no address" in told
    assert all(one.startswith("store: ") for one in problems_of(draft, "The object store"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "listen.prot=1"), "there is no key listen.prot"),
        (("--set", "listen.port"), "SECTION.KEY=VALUE"),
    ],
)
def test_flags_that_cannot_be_understood_exit_2(
    bare: Bare, words: tuple[str, ...], said: str
) -> None:
    refused = bare.told(*words)
    assert refused.code == 2
    assert said in refused.err


def test_without_a_terminal_it_asks_for_flags(bare: Bare) -> None:
    refused = bare.asked()
    assert refused.code == 2
    assert "--non-interactive" in refused.err


def test_a_user_that_is_not_there_is_named_with_the_cure(bare: Bare) -> None:
    refused = bare.told("--user", "no-such-user")
    assert refused.code == 78
    assert "useradd --system" in refused.err


def test_a_damaged_configuration_is_left_alone(bare: Bare) -> None:
    bare.config.parent.mkdir(parents=True)
    bare.config.write_text("[listen\nport = 5")
    refused = bare.told("--no-trial")
    assert refused.code == 78
    assert "a section's name ends with ]" in refused.err
    assert bare.config.read_text() == "[listen\nport = 5"


def test_a_dry_run_tells_and_makes_nothing(bare: Bare) -> None:
    told = bare.told("--dry-run", *UNIT)
    assert told.code == 0, told.err
    assert f"listen.port = {bare.port}" in told.out
    assert "A new instance key is made." in told.out
    assert not bare.directory.exists()


ANSWERED = {
    "instance__facility": "Core",
    "instance__contact": "help@example.org",
    "instance__public_url": "http://127.0.0.1:5000",
    "listen__address": "127.0.0.1",
    "listen__admin_group": "",
    "database__url": "",
    "store__public_endpoint": "",
    "mail__kind": "outbox",
}


def at_a_terminal(bare: Bare, *more: str, **answers: object) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable,
        bare.words(*more, **ANSWERED | answers)[1:],
        cwd=str(REPOSITORY),
        env=environment() | {"TERM": "dumb"},
        timeout=PATIENCE_S,
        encoding="utf-8",
        dimensions=(50, 250),
    )


def converse(child: pexpect.spawn[str], *turns: tuple[str, str]) -> None:
    for words, line in turns:
        child.expect_exact(words)
        child.expect_exact("]: ")
        child.sendline(line)


def test_answers_that_others_make_pointless_are_dropped(bare: Bare) -> None:
    child = at_a_terminal(bare, "--dry-run")
    converse(
        child,
        ("Certificate file", "/etc/no-such.pem"),
        ("Its private key's file", "/etc/no-such.key"),
        ("Certificate file", "-"),
        ("Addresses of the reverse proxy", "127.0.0.1"),
        ("Address to listen on", ""),
        ("Port to listen on", ""),
        ("embedded, or s3", "s3"),
        ("Where this machine reaches the store", f"http://127.0.0.1:{bare.port}"),
    )
    child.expect_exact("to make accounts with; empty: none (not kept): ")
    child.sendline("admin")
    child.expect_exact("Its secret (not shown): ")
    child.sendline("admins-secret")
    converse(child, ("own account", ""))
    child.expect_exact("✗ store.endpoint: ")
    converse(
        child,
        ("embedded, or s3", "embedded"),
        ("Port of the embedded store", ""),
        ("Where users' machines reach the store", ""),
    )
    child.expect_exact("Dry run: nothing was changed.")
    told = child.before or ""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    for dropped in ("tls_key_file", "store.endpoint", "access_key", "secret_key_file"):
        assert dropped not in told


def test_what_is_in_effect_is_dropped_with_what_it_belongs_to_and_nothing_else(
    bare: Bare, tmp_path: Path
) -> None:
    certificate, key = Authority().issue("dds.example.org").write(tmp_path)
    bare.config.parent.mkdir(parents=True)
    bare.config.write_text(
        f'[listen]\ntls_certificate_file = "{certificate}"\ntls_key_file = "{key}"\n'
        'trusted_proxies = ["127.0.0.1"]\n'
    )
    child = at_a_terminal(bare, "--dry-run", store__kind="embedded", store__port=0)
    converse(child, ("Certificate file", "-"), ("Addresses of the reverse proxy [127.0.0.1", ""))
    child.expect_exact("Dry run: nothing was changed.")
    told = child.before or ""
    child.close()
    assert "listen.tls_key_file = None" in told
    assert "trusted_proxies" not in told


def typed_secrets(temporary: Path) -> list[str]:
    places = [*temporary.glob("ddsd-setup-*"), *Path("/run").glob("ddsd-setup-*")]
    return [file.read_text() for place in places for file in place.glob("mail-password")]


def test_a_closed_terminal_leaves_no_typed_secret(
    bare: Bare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    secret = f"{PASSWORD}-{bare.port}\n"
    child = at_a_terminal(
        bare,
        listen__tls_certificate_file="",
        listen__trusted_proxies="",
        store__kind="embedded",
        store__port=0,
        mail__kind="smtp",
        mail__host="127.0.0.1",
        mail__port=bare.port,
        mail__security="none",
        mail__username="ddsd",
        mail__sender="dds@example.org",
    )
    child.expect_exact("Its password (not shown): ")
    child.send(secret)
    child.expect_exact("✗ mail.host: The mail server 127.0.0.1:")
    child.expect_exact("smtp, or outbox")
    assert secret in typed_secrets(tmp_path)
    child.close(force=False)  # what its terminal's end sends is SIGHUP
    assert secret not in typed_secrets(tmp_path)
    assert not bare.directory.exists()


@pytest.mark.slow
def test_at_a_terminal_a_wrong_answer_can_be_corrected_and_a_secret_is_not_shown(
    bare: Bare, mail_server: MailServer
) -> None:
    dead = bare.port
    child = pexpect.spawn(
        sys.executable,
        bare.words("--no-trial", "--set", "listen.admin_group=")[1:],
        cwd=str(REPOSITORY),
        env=environment() | {"TERM": "dumb"},
        timeout=PATIENCE_S,
        encoding="utf-8",
        dimensions=(50, 250),
    )
    log = child.logfile_read = (bare.directory.parent / "seen").open("w+")

    def answer(words: str, line: str) -> None:
        child.expect_exact(words)
        child.expect_exact(": ")
        child.sendline(line)

    answer("What mails and pages call this service", "Terminal Core")
    answer("Whom users ask for help", "help@example.org")
    answer("Where users reach it", "dds.example.org")
    child.expect_exact("✗ instance.public_url: dds.example.org is no http:// or https:// address")
    answer("What mails and pages call this service", "")
    answer("Whom users ask for help", "")
    answer("Where users reach it", "http://127.0.0.1:5000")
    answer("Certificate file", "")
    answer("Addresses of the reverse proxy", "127.0.0.1")
    answer("Address to listen on", "")
    answer("empty: SQLite", "")
    answer("embedded, or s3", "")
    answer("Port of the embedded store", "")
    answer("Where users' machines reach the store", "")
    answer("smtp, or outbox", "smtp")
    answer("Mail server", "127.0.0.1")
    answer("Its port", str(dead))
    answer("none, starttls or tls", "none")
    answer("User name there", "ddsd")
    answer("Its password", PASSWORD)
    answer("What mails are from", "Core <dds@example.org>")
    child.expect_exact("✗ mail.host: The mail server 127.0.0.1:")
    answer("smtp, or outbox", "")
    answer("Mail server", "")
    answer("Its port", str(mail_server.port))
    answer("none, starttls or tls", "")
    answer("User name there", "-")
    answer("What mails are from", "")
    child.expect_exact("A new instance key is made.")
    answer("Write this?", "y")
    answer("Its short name", "no good!")
    answer("Its name", "Genomics")
    answer("Whom its researchers ask", "dna@example.org")
    answer("User name; empty: none now", "")
    child.expect_exact("✗")
    answer("Its short name", "genomics")
    answer("Its name", "")
    answer("Whom its researchers ask", "")
    child.expect_exact("✓ made the unit genomics")
    child.expect_exact("What to do next")
    child.expect(pexpect.EOF)
    child.close()
    log.close()
    assert child.exitstatus == 0, child.before
    assert PASSWORD not in Path(log.name).read_text()
    written = load(bare.config, {})
    assert written.instance.facility == "Terminal Core"
    assert written.listen.trusted_proxies == ("127.0.0.1/32",)
    assert written.mail.port == mail_server.port


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_who_leaves_at_a_question_has_changed_nothing(bare: Bare) -> None:
    child = pexpect.spawn(
        sys.executable,
        bare.words()[1:],
        cwd=str(REPOSITORY),
        env=environment() | {"TERM": "dumb"},
        timeout=PATIENCE_S,
        encoding="utf-8",
        # A test process in the background ignores Ctrl-C, and so would its children.
        preexec_fn=_heed_ctrl_c,
    )
    child.expect_exact("call this service")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus not in {0, None}
    assert "Traceback" not in str(child.before)
    assert not bare.directory.exists()


def test_with_systemds_credentials_no_secret_is_named_and_a_key_that_is_there_is_kept(
    tmp_path: Path,
) -> None:
    store = tmp_path / "credstore"
    store.mkdir(0o700)
    (tmp_path / "scratch").mkdir()
    secrets = {"mail.password_file": SecretText("s3cret")}
    draft = Draft(tmp_path / "ddsd.toml", tmp_path / "scratch", store, places(tmp_path), secrets)
    files.write(draft, Account.of(""))
    key = store / "ddsd.instance-key"
    assert {mode(one) for one in store.iterdir()} == {0o600}
    written = load(draft.file, {})
    assert (written.instance.key_file, written.mail.password_file) == (None, None)
    with files.credentials(draft, Account.of("")) as variables:
        assert read_secrets(written, variables).instance_key is not None
    before = key.read_text()
    again = Draft(draft.file, tmp_path / "scratch", store, {"log.level": "debug"})
    assert not again.needs_instance_key
    assert files.write(again, Account.of("")) == [draft.file]
    assert key.read_text() == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root sets up for another user")
def test_set_up_by_root_the_daemons_user_may_read_and_not_change_it(tmp_path: Path) -> None:
    account = Account("nobody", 65534, 65534, (65534,))
    (tmp_path / "scratch").mkdir()
    draft = Draft(
        tmp_path / "etc" / "ddsd.toml",
        tmp_path / "scratch",
        texts=places(tmp_path),
        secrets={"mail.password_file": SecretText("s3cret")},
    )
    written = files.write(draft, account)
    names = ["instance.key", "mail-password", "ddsd.toml"]
    assert written == [tmp_path / "etc" / name for name in names]
    for one in written:
        assert (one.owner(), one.stat().st_gid, mode(one)) == ("root", 65534, 0o640)
    for directory, owner in (("etc", 0), ("state", 65534), ("run", 65534)):
        made = (tmp_path / directory).stat()
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (owner, 65534, 0o750)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """As on a full disk: the new file cannot be finished, and the earlier one stays."""
    (tmp_path / "scratch").mkdir()
    file = tmp_path / "ddsd.toml"
    file.write_text(REFERENCE.read_text())
    texts = places(tmp_path) | {"instance.facility": "x" * 5000}
    draft = Draft(file, tmp_path / "scratch", texts=texts)
    (tmp_path / "instance.key").write_text("there is one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match="What was there is as before"):
            files.write(draft, Account.of(""))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == REFERENCE.read_text()
    assert not list(tmp_path.glob(".*.new"))
