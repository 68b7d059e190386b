"""What the shell offers when a word is half typed: names that the daemon knows. A daemon that is away offers none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ddsctl.failures import Failure
from ddsctl.session import DEFAULT_SOCKET

if TYPE_CHECKING:
    from ddsctl.client import Daemon


def usernames(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the accounts."""
    from ddsd.contract.admin import User

    return _offer(
        ctx, incomplete, lambda daemon: (one.username for one in daemon.get_list("/users", User))
    )


def units(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the units' public IDs."""
    from ddsd.contract.admin import Unit

    return _offer(
        ctx, incomplete, lambda daemon: (one.public_id for one in daemon.get_list("/units", Unit))
    )


def projects(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the projects' public IDs."""
    from ddsd.contract.admin import Project

    return _offer(
        ctx,
        incomplete,
        lambda daemon: (one.public_id for one in daemon.get_list("/projects", Project)),
    )


def invited(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the addresses that an invite waits for."""
    from ddsd.contract.admin import Invite

    return _offer(
        ctx, incomplete, lambda daemon: (one.email for one in daemon.get_list("/invites", Invite))
    )


def scheduled_jobs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the jobs that come by the clock."""
    from ddsd.contract.admin import ScheduledJob

    return _offer(
        ctx,
        incomplete,
        lambda daemon: (one.kind for one in daemon.get_list("/schedule", ScheduledJob)),
    )


def letters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the kinds of letters."""
    from ddsd.contract.admin import Preview

    return _offer(
        ctx,
        incomplete,
        lambda daemon: (one.kind for one in daemon.get_list("/mail-samples", Preview)),
    )


def _offer(
    ctx: typer.Context, incomplete: str, ask: Callable[[Daemon], Iterator[str]]
) -> list[str]:
    from ddsctl.client import Daemon

    socket = ctx.find_root().params.get("socket") or DEFAULT_SOCKET
    with suppress(Failure), Daemon(Path(str(socket))) as daemon:
        return [name for name in ask(daemon) if name.startswith(incomplete)]
    return []
