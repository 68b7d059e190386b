"""The first unit, its user at the store, the first super admin: made over the admin socket, as an operator does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from ddsctl.client import Daemon, path
from ddsctl.failures import Failure
from ddsd.contract.admin import (
    CreateUnit,
    CreateUser,
    MakeStoreUser,
    NewUser,
    StoreAccountSet,
    StoreSettings,
    Unit,
    User,
)
from ddsd.contract.words import Role
from ddsd.setup.draft import Lent
from ddsd.setup.questions import asked_to_lend


@dataclass(frozen=True)
class Wishes:
    """Whom to make; ``unit`` or ``admin`` empty: nobody. ``lent``: with it the unit's user at the store is made."""

    unit: str = ""
    unit_name: str = ""
    unit_contact: str = ""
    admin: str = ""
    admin_name: str = ""
    admin_email: str = ""
    lent: Lent | None = None


def make(socket: Path, wishes: Wishes, *, interactive: bool) -> NewUser | None:
    """Make the unit and the super admin, unless they are there; return the latter with their link, if new.

    Raises:
        Failure: the daemon refuses, and there is nobody to ask.
    """
    with Daemon(socket) as daemon:
        if interactive:
            wishes = _asked(daemon, wishes)
        again = _ask_unit if interactive else None
        units: list[str] = []
        wishes = _until_taken(wishes, lambda one: units.extend(_make_unit(daemon, one)), again)
        if units and daemon.get("/store", StoreSettings).kind == "s3":
            again = _ask_to_lend if interactive else None
            _until_taken(wishes, lambda one: _make_store_user(daemon, one), again)
        made: list[NewUser] = []
        again = _ask_admin if interactive else None
        _until_taken(wishes, lambda one: made.extend(_make_admin(daemon, one)), again)
        return made[0] if made else None


def _asked(daemon: Daemon, wishes: Wishes) -> Wishes:
    if not wishes.unit and not daemon.get_list("/units", Unit):
        wishes = _ask_unit(wishes)
    if not wishes.admin and not _super_admins(daemon):
        wishes = _ask_admin(wishes)
    return wishes


def _ask_unit(wishes: Wishes) -> Wishes:
    typer.secho("\nThe first unit", bold=True)
    unit = _prompt("Its short name, for good; empty: none now", wishes.unit)
    if not unit:
        return replace(wishes, unit="")
    return replace(
        wishes,
        unit=unit,
        unit_name=_prompt("Its name", wishes.unit_name or unit),
        unit_contact=_prompt("Whom its researchers ask (mail address)", wishes.unit_contact),
    )


def _ask_admin(wishes: Wishes) -> Wishes:
    typer.secho("\nThe first super admin", bold=True)
    admin = _prompt("User name; empty: none now", wishes.admin)
    if not admin:
        return replace(wishes, admin="")
    return replace(
        wishes,
        admin=admin,
        admin_name=_prompt("Name", wishes.admin_name),
        admin_email=_prompt("Mail address", wishes.admin_email),
    )


def _ask_to_lend(wishes: Wishes) -> Wishes:
    words = "An administrator's key at the store, to give the unit a user of its own; empty: no"
    return replace(wishes, lent=asked_to_lend(words))


def _prompt(words: str, usual: str) -> str:
    return str(typer.prompt(f"  {words}", default=usual, show_default=bool(usual))).strip()


def _until_taken(
    wishes: Wishes, make_it: Callable[[Wishes], None], again: Callable[[Wishes], Wishes] | None
) -> Wishes:
    while True:
        try:
            make_it(wishes)
        except Failure as refused:
            if again is None:
                raise
            typer.secho(f"  ✗ {refused.message}", fg="red")
            wishes = again(wishes)
        else:
            return wishes


def _make_unit(daemon: Daemon, wishes: Wishes) -> list[str]:
    there = {one.public_id for one in daemon.get_list("/units", Unit)}
    if not wishes.unit or wishes.unit in there:
        return []
    wanted = CreateUnit(
        public_id=wishes.unit,
        name=wishes.unit_name or wishes.unit,
        external_display_name=wishes.unit_name or wishes.unit,
        contact_email=wishes.unit_contact,
    )
    daemon.post("/units", wanted, Unit)
    typer.echo(f"✓ made the unit {wishes.unit}")
    return [wishes.unit]


def _make_store_user(daemon: Daemon, wishes: Wishes) -> None:
    if wishes.lent is None:
        return
    wanted = MakeStoreUser(
        admin_access_key=wishes.lent.access_key, admin_secret_key=wishes.lent.secret.text()
    )
    done = daemon.post(path("units", wishes.unit, "store", "user"), wanted, StoreAccountSet)
    for warning in done.warnings:
        typer.secho(f"  {warning}", fg="yellow")
    typer.echo(f"✓ made the user {done.access_key} at the store, for this unit's buckets alone")


def _make_admin(daemon: Daemon, wishes: Wishes) -> list[NewUser]:
    there = {one.username for one in daemon.get_list("/users", User)}
    if not wishes.admin or wishes.admin in there:
        return []
    wanted = CreateUser(
        username=wishes.admin,
        name=wishes.admin_name,
        email=wishes.admin_email,
        role=Role.SUPER_ADMIN,
    )
    made = daemon.post("/users", wanted, NewUser)
    typer.echo(f"✓ made the super admin {made.username}")
    return [made]


def _super_admins(daemon: Daemon) -> list[User]:
    return [one for one in daemon.get_list("/users", User) if one.role == Role.SUPER_ADMIN]
