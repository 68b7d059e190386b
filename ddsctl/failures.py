"""How a command fails: one exit code per kind of trouble, and a message that names the next step.

The codes are those of sysexits.h, so that a script can tell "try later" from "this will never work".
"""

from __future__ import annotations

import grp
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup


class ExitCode(IntEnum):
    """What a script can tell from. 0 is success, 2 a command line that cannot be understood."""

    FAILED = 1
    REFUSED_INPUT = 65
    UNAVAILABLE = 69
    NOT_ALLOWED = 77


EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed; 2 the command line cannot be understood; 65 the daemon refused what was asked "
    "(wrong value, no such thing, exists already); 69 the daemon, or something it needs, is away: try later; "
    "77 not allowed."
)


OPTIONS: Final = {
    "access_key": "--access-key",
    "contact_email": "--contact",
    "days_in_available": "--days-available",
    "days_in_expired": "--days-expired",
    "email": "--email",
    "endpoint": "--endpoint",
    "external_display_name": "--display-name",
    "iam_endpoint": "--iam-endpoint",
    "internal_ref": "--internal-ref",
    "name": "--name",
    "public_endpoint": "--public-endpoint",
    "public_id": "PUBLIC_ID",
    "quota_bytes": "the quota",
    "quota_enforced": "--enforce",
    "read_only_access_key": "--read-only-access-key",
    "read_only_secret_key": "the read-only secret key",
    "region": "--region",
    "role": "--role",
    "secret_key": "the secret key",
    "unit": "--unit",
    "username": "USERNAME",
    "warning_level": "--warn-at",
}
"""How the command line spells the fields that the daemon may refuse."""


class Failure(Exception):
    """A command cannot do what was asked; ``message`` says why and what to do next."""

    def __init__(self, exit_code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message


class FailingGroup(TyperGroup):
    """The root of the commands: turns a :class:`Failure` into its message on stderr and its exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what is no text, before anything is done with it: Python passes such bytes on as surrogates."""
        for one in args:
            if not _is_text(one):
                ctx.fail(f"{one!r} is no text in UTF-8.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            typer.echo(f"ddsctl: {failure.message}", err=True)
            raise typer.Exit(failure.exit_code) from failure


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def daemon_away(socket: Path) -> Failure:
    """Nobody listens on the socket."""
    return Failure(
        ExitCode.UNAVAILABLE,
        f"the daemon does not answer on {socket}. Is it running, or still starting or stopping? "
        "See: systemctl status ddsd. "
        "If it uses another socket (listen.admin_socket), name that with --socket.",
    )


def daemon_silent(socket: Path) -> Failure:
    """Somebody listens, and says nothing."""
    return Failure(
        ExitCode.UNAVAILABLE,
        f"the daemon on {socket} took the request and did not answer in time. "
        "Whether it was carried out is not known. See: journalctl --unit ddsd",
    )


def not_ddsd(socket: Path) -> Failure:
    """What answers is no ddsd, or one of quite another version."""
    return Failure(
        ExitCode.FAILED,
        f"what answers on {socket} is not understood. Is it ddsd, and of the version of this ddsctl "
        "(ddsctl --version)?",
    )


def other_api(theirs: str, ours: str) -> Failure:
    """The daemon speaks another API than this ddsctl."""
    return Failure(
        ExitCode.FAILED,
        f"the daemon is ddsd {theirs}, this is ddsctl {ours}: they do not understand each other. "
        f"{_SAME_VERSION}",
    )


def other_version(theirs: str, ours: str) -> str:
    """Say that the daemon has another version than this ddsctl, and understands it all the same."""
    return f"ddsctl: Warning: the daemon is ddsd {theirs}, this is ddsctl {ours}. {_SAME_VERSION}"


_SAME_VERSION: Final = (
    "After an upgrade, restart it: systemctl restart ddsd. "
    "Otherwise use the ddsctl that came with it."
)


def socket_closed_to_us(socket: Path) -> Failure:
    """The socket's mode, or that of its directory, keeps us out."""
    group = _group_that_may(socket)
    return Failure(
        ExitCode.NOT_ALLOWED,
        f"you may not use {socket}. Be root (sudo ddsctl …)"
        + (
            f", or a member of the group '{group}' (usermod --append --groups {group} YOU, then log in again)."
            if group
            else "."
        ),
    )


def _group_that_may(socket: Path) -> str:
    for place in (socket, *socket.parents):
        try:
            return grp.getgrgid(place.stat().st_gid).gr_name
        except PermissionError:
            continue
        except (KeyError, OSError):
            return ""
    return ""
