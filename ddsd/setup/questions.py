"""What is asked, in which order, and how a step goes on until its answers are good."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Final

import typer

from ddsd.errors import ConfigurationError
from ddsd.secret import SecretText
from ddsd.settings import Settings
from ddsd.setup import tries
from ddsd.setup.draft import ACCOUNT, ACCOUNT_KEY_FILE, Draft, Lent

EMPTY: Final = "-"
"""What empties a value that would otherwise be kept."""

LENT: Final = "--store-admin-key"
ADDRESS: Final = "instance.public_url"
PORT: Final = "listen.port"

Condition = Callable[[Draft], bool]


def _is(key: str, value: str) -> Condition:
    return lambda draft: draft.text(key) == value


def _set(key: str) -> Condition:
    return lambda draft: bool(draft.text(key))


def _not(condition: Condition) -> Condition:
    return lambda draft: not condition(draft)


def _both(one: Condition, other: Condition) -> Condition:
    return lambda draft: one(draft) and other(draft)


@dataclass(frozen=True)
class Question:
    """One key of the configuration, or :data:`LENT`. ``secret``: it names a file, and what is typed goes into it."""

    key: str
    words: str
    when: Condition = lambda _draft: True
    secret: bool = False


@dataclass(frozen=True)
class Step:
    """Questions that belong together, and what is tried with their answers."""

    title: str
    questions: tuple[Question, ...]
    tried: Callable[[Settings], Coroutine[object, object, list[str]]]


_S3: Final = _is("store.kind", "s3")
_SMTP: Final = _is("mail.kind", "smtp")
_OWN_TLS: Final = _set("listen.tls_certificate_file")

STEPS: Final = (
    Step(
        "The service",
        (
            Question("instance.facility", "What mails and pages call this service"),
            Question("instance.contact", "Whom users ask for help (mail address)"),
            Question(ADDRESS, "Where users reach it, https://… without a slash at the end"),
        ),
        tries.address,
    ),
    Step(
        "The way in",
        (
            Question(
                "listen.tls_certificate_file", "Certificate file; empty: a reverse proxy speaks TLS"
            ),
            Question("listen.tls_key_file", "Its private key's file", _OWN_TLS),
            Question("listen.trusted_proxies", "Addresses of the reverse proxy", _not(_OWN_TLS)),
            Question("listen.address", "Address to listen on"),
            Question(PORT, "Port to listen on"),
        ),
        tries.way_in,
    ),
    Step(
        "Operators",
        (
            Question(
                "listen.admin_group", "Group whose members may use ddsctl; empty: the daemon's own"
            ),
        ),
        tries.operators,
    ),
    Step(
        "The database",
        (
            Question("database.url", "postgresql://user@host/name; empty: SQLite"),
            Question("database.password_file", "Its password", _set("database.url"), secret=True),
        ),
        tries.database,
    ),
    Step(
        "The object store",
        (
            Question("store.kind", "embedded, or s3 (MinIO and others)"),
            Question("store.endpoint", "Where this machine reaches the store", _S3),
            Question(LENT, "An administrator's key there, to make accounts with; empty: none", _S3),
            Question(ACCOUNT, "Access key of the service's own account", _S3),
            Question(ACCOUNT_KEY_FILE, "Its secret", _S3, secret=True),
            Question(
                "store.port",
                "Port of the embedded store on loopback, for the proxy; 0: any",
                _not(_S3),
            ),
            Question(
                "store.public_endpoint", "Where users' machines reach the store; empty: the same"
            ),
        ),
        tries.store,
    ),
    Step(
        "Mail",
        (
            Question("mail.kind", "smtp, or outbox (nothing is sent: for trying out)"),
            Question("mail.host", "Mail server", _SMTP),
            Question("mail.port", "Its port", _SMTP),
            Question("mail.security", "none, starttls or tls", _SMTP),
            Question("mail.username", "User name there; empty: no login", _SMTP),
            Question(
                "mail.password_file",
                "Its password",
                _both(_SMTP, _set("mail.username")),
                secret=True,
            ),
            Question("mail.sender", "What mails are from: Name <address>", _SMTP),
        ),
        tries.mail,
    ),
)


def go_through(draft: Draft, *, interactive: bool) -> None:
    """Ask what was not given, try every answer, and go on only with good ones.

    Raises:
        ConfigurationError: answers are wrong, and there is nobody to ask; all of them are named.
    """
    given = frozenset(draft.texts) | ({LENT} if draft.lent else set())
    problems: list[str] = []
    for step in STEPS:
        if interactive:
            typer.secho(f"\n{step.title}", bold=True)
            _ask(draft, [one for one in step.questions if one.key not in given])
        while found := judged(draft, step):
            if not interactive:
                problems += found
                break
            for problem in found:
                typer.secho(f"  ✗ {problem}", fg="red")
            _ask(draft, step.questions)
        if ADDRESS not in given:
            _let_address_follow_port(draft)
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))


def judged(draft: Draft, step: Step) -> list[str]:
    """Return what is wrong with a step's answers; what is wrong with another step's is told there."""
    try:
        settings = draft.trying()
    except ConfigurationError as wrong:
        own = {one.key.partition(".")[0] for one in step.questions}
        told = wrong.message.splitlines()
        if problems := [line for line in told if _section(line) in own]:
            return problems
        settings = _without(draft, {_section(line) for line in told}).trying()
    found = asyncio.run(step.tried(settings))
    if draft.lent and any(one.key == LENT for one in step.questions):
        lent = f" (Asked with the key that is lent, {draft.lent.access_key}.)"
        return [problem + lent * problem.startswith("store.endpoint: ") for problem in found]
    return found


def _section(line: str) -> str:
    return re.split(r"[.:]", line, maxsplit=1)[0]


def _without(draft: Draft, sections: set[str]) -> Draft:
    """Leave out the answers of sections that are not good yet."""
    texts = {key: text for key, text in draft.texts.items() if _section(key) not in sections}
    return replace(draft, texts=texts)


def _ask(draft: Draft, questions: Sequence[Question]) -> None:
    """Ask, and drop what other answers have made pointless: it would be refused, and never be asked for again."""
    before = draft.unanswered()
    for one in questions:
        if one.when(draft):
            _ask_one(draft, one)
    for one in questions:
        if not one.when(draft):
            draft.forget(one.key)
            if one.key != LENT and one.when(before):
                draft.empty(one.key)


def _let_address_follow_port(draft: Draft) -> None:
    """Move the port of an address that is this machine's own with the port that is listened on."""
    port = draft.before().listen.port
    if draft.text(ADDRESS) == f"http://127.0.0.1:{port}" and draft.text(PORT) != str(port):
        draft.texts[ADDRESS] = f"http://127.0.0.1:{draft.text(PORT)}"


def _ask_one(draft: Draft, question: Question) -> None:
    if question.secret:
        _ask_secret(draft, question)
        return
    if question.key == LENT:
        if draft.lent:
            draft.forget(ACCOUNT_KEY_FILE)
        if lent := asked_to_lend(question.words):
            draft.lend(lent)
        return
    usual = draft.text(question.key)
    typed = str(typer.prompt(f"  {question.words}", default=usual)).strip()
    answer = "" if typed == EMPTY else typed
    if answer != usual:
        draft.texts[question.key] = answer


def _ask_secret(draft: Draft, question: Question) -> None:
    if question.key == ACCOUNT_KEY_FILE and draft.lent:
        return  # made up, for the account that is made
    there = draft.has_secret(question.key)
    if typed := _typed_unseen(question.words, "; empty: as before" if there else ""):
        draft.secrets[question.key] = typed


def asked_to_lend(words: str) -> Lent | None:
    """Ask for an administrator's key at the store; ``None``: none is lent."""
    key = str(typer.prompt(f"  {words} (not kept)", default="", show_default=False)).strip()
    if key in {"", EMPTY}:
        return None
    return Lent(key, _typed_unseen("Its secret", "") or SecretText(""))


def _typed_unseen(words: str, more: str) -> SecretText | None:
    typed = typer.prompt(
        f"  {words} (not shown{more})", default="", hide_input=True, show_default=False
    )
    return SecretText(str(typed).strip()) if typed else None
