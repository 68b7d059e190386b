"""``ddsd setup``: from a bare machine to an installation that has delivered a file. `ddsctl setup` hands over to it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ddsctl import asking
from ddsctl.failures import Failure
from ddsd.contract.admin import NewUser
from ddsd.secret import SecretText
from ddsd.settings import DEFAULT_PATH, Secrets, Settings, StoreKind, read_secrets
from ddsd.setup import files, people, questions, service, store_account
from ddsd.setup.draft import KEY_FILE, Draft, Lent, known_keys
from ddsd.setup.files import Account
from ddsd.setup.people import Wishes
from ddsd.setup.service import Runs, ServiceFailed

_FAILED = 1
_CREDSTORE = Path("/etc/credstore")


def setup_command(
    config: Annotated[
        Path, typer.Option("--config", help="The configuration to make or change.", metavar="FILE")
    ] = DEFAULT_PATH,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An answer: any key of the configuration, such as listen.port=8443. Can be given several times."
            " A *_file key names a file that you have made.",
            metavar="SECTION.KEY=VALUE",
        ),
    ] = None,
    unit: Annotated[str, typer.Option(help="The first unit's short name.")] = "",
    unit_name: Annotated[str, typer.Option(help="The first unit's name.")] = "",
    unit_contact: Annotated[str, typer.Option(help="Whom the unit's researchers ask.")] = "",
    admin: Annotated[str, typer.Option(help="The first super admin's user name.")] = "",
    admin_name: Annotated[str, typer.Option(help="The first super admin's name.")] = "",
    admin_email: Annotated[str, typer.Option(help="The first super admin's mail address.")] = "",
    store_admin_key: Annotated[
        str,
        typer.Option(
            help="An administrator's key at a MinIO. With it the service's own account is made there, if there is none"
            " that works, and a user for the new unit. It is not kept."
        ),
    ] = "",
    store_admin_secret_file: Annotated[
        Path | None, typer.Option(help="The file with its secret.", show_default=False)
    ] = None,
    user: Annotated[
        str,
        typer.Option(
            help="The user that the daemon runs as; as root, if not given: ddsd.",
            show_default=False,
        ),
    ] = "",
    credstore: Annotated[
        Path | None,
        typer.Option(
            help="Put secrets into this directory, as systemd's credentials ddsd.NAME. If not given: /etc/credstore"
            " where the package's service is; else they are files beside the configuration.",
            show_default=False,
            metavar="DIRECTORY",
        ),
    ] = None,
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing; what is wrong ends it.")
    ] = False,
    trial: Annotated[
        bool, typer.Option("--trial/--no-trial", help="Deliver a test file at the end.")
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Ask and try, tell what would change, and change nothing."),
    ] = False,
) -> None:
    """Set up this machine's installation, or change it. Every answer is tried at once against the real thing.

    What is there already is kept, as long as nothing else is answered; an instance key is never made anew.

    Example: ddsd setup --non-interactive --set instance.public_url=https://dds.example.org --unit genomics
    """
    interactive = not non_interactive
    if interactive and not sys.stdin.isatty():
        _give_up(
            "there is nobody to ask: say --non-interactive, and give the answers with --set", 2
        )
    wishes = Wishes(unit, unit_name, unit_contact, admin, admin_name, admin_email)
    with files.in_memory("ddsd-setup-") as scratch:
        store = credstore or (_CREDSTORE if service.is_the_units(config.absolute()) else None)
        draft = Draft(config.absolute(), scratch, store, _parsed(values or []))
        try:
            account = Account.of(user or ("ddsd" if os.getuid() == 0 else ""))
            draft.before()
            if store_admin_key:
                draft.lend(_lent(store_admin_key, store_admin_secret_file))
            _set_up(draft, account, wishes, interactive=interactive, trial=trial, dry_run=dry_run)
        except ServiceFailed as wrong:
            _give_up(str(wrong), _FAILED)
        except Failure as wrong:
            _give_up(wrong.message, _FAILED)


def _set_up(
    draft: Draft, account: Account, wishes: Wishes, *, interactive: bool, trial: bool, dry_run: bool
) -> None:
    if interactive:
        _greet(draft)
    questions.go_through(draft, interactive=interactive)
    _tell_changes(draft)
    if dry_run:
        typer.echo("Dry run: nothing was changed.", err=True)
        return
    if interactive and not typer.confirm("\nWrite this?", default=True):
        raise ServiceFailed("nothing was changed.")
    settings = draft.settings()
    named = ["--config", str(draft.file)]
    for written in files.write(draft, account):
        typer.echo(f"✓ wrote {written}")
    for changed in service.let_write(draft.file, settings):
        typer.echo(f"✓ changed {changed}: the service may write where the data is")
    with files.credentials(draft, account) as variables:
        if not account.is_us:  # else that was tried before
            service.as_daemon(account, variables, "check-config", *named)
        if draft.lent:
            _ensure_store_account(settings, read_secrets(settings, variables), draft.lent)
        migrated = service.as_daemon(account, variables, "migrate", *named)
        typer.echo(f"✓ the database: {migrated}")
        if trial:
            typer.echo("… delivering a test file to ourselves and back")
            typer.echo(f"✓ {service.as_daemon(account, variables, 'setup-trial', *named)}")
        socket = settings.listen.admin_socket
        with service.serving(draft.file, socket, account, variables) as runs:
            made = people.make(socket, replace(wishes, lent=draft.lent), interactive=interactive)
    _say_what_next(settings, runs, made, draft, account)


def _ensure_store_account(settings: Settings, secrets: Secrets, lent: Lent) -> None:
    if store_account.ensure(settings, secrets, lent):
        typer.echo(f"✓ made the user {settings.store.access_key} at the store, for our buckets")


def _greet(draft: Draft) -> None:
    what = f"make {draft.file}" if draft.is_new else f"change {draft.file}"
    typer.echo(
        f"This will {what}. Enter keeps what stands in brackets; {questions.EMPTY} empties it."
        " Nothing is written before you say so."
    )


def _tell_changes(draft: Draft) -> None:
    settings = draft.settings().model_dump(mode="json")
    typer.echo("")
    for dotted in draft.changes():
        section, _, key = dotted.partition(".")
        typer.echo(f"  {dotted} = {settings[section][key]}")
    if not draft.changes():
        typer.echo("  The configuration stays as it is.")
    if draft.needs_instance_key:
        typer.echo("  A new instance key is made.")


def _say_what_next(
    settings: Settings, runs: Runs, made: NewUser | None, draft: Draft, account: Account
) -> None:
    typer.secho("\nDone. What to do next:", bold=True)
    steps = []
    if runs is Runs.NOT:
        steps.append(f"start it as the user {account.name}: ddsd serve --config {draft.file}")
    if runs is Runs.ALREADY:
        steps.append("the daemon ran before: restart it, so that it takes the changes")
    if made:
        steps.append(
            f"give {made.username} this link (once, for {made.link_hours} hours): {made.link}"
        )
    key = draft.place_of(KEY_FILE)
    if settings.store.kind is StoreKind.S3:
        steps.append("look at what the store can do: ddsctl store check")
    steps += [
        f"keep a copy of {key} in a safe place, apart from the backups: without it they are of little use",
        f"look from outside: {settings.instance.public_url}/status",
        "make the unit's admins, two at least: ddsctl user create USERNAME --role unit-admin --unit UNIT …",
    ]
    for number, step in enumerate(steps, 1):
        typer.echo(f"  {number}. {step}")


def _lent(access_key: str, secret_file: Path | None) -> Lent:
    what = f"Secret of {access_key} (not shown)"
    secret = asking.secret(what, secret_file, "--store-admin-secret-file")
    return Lent(access_key, SecretText(secret))


def _parsed(values: list[str]) -> dict[str, str]:
    texts = {}
    for one in values:
        key, equals, value = one.partition("=")
        if not equals:
            _give_up(f"--set {one}: this needs to be SECTION.KEY=VALUE", 2)
        if key not in known_keys():
            _give_up(f"--set {one}: there is no key {key} in the configuration", 2)
        texts[key] = value
    return texts


def _give_up(message: str, status: int) -> None:
    for line in message.splitlines():
        typer.echo(line if line.startswith("ddsd: ") else f"ddsd: {line}", err=True)
    raise typer.Exit(status)
