"""``ddsd demo``: a whole installation in one directory, one delivery through it, and then a service to play with.

A demo has public passwords: it listens on loopback only, keeps its mail to itself, and says loudly what it is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
import uvloop
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from ddsctl.delivery import DeliveryError
from ddsd import bootstrap, daemon, listeners, log
from ddsd.access import System
from ddsd.db import revision
from ddsd.demo import dataset, seed
from ddsd.demo.delivery import Credentials, DeliveryFacts, DemoFailed, deliver
from ddsd.demo.minio_child import running_minio
from ddsd.demo.story import Story
from ddsd.errors import ConfigurationError, DdsError
from ddsd.mail import outbox
from ddsd.secret import SecretText
from ddsd.settings import LogFormat, Settings
from ddsd.work import Services, reading

DEFAULT_PORT: Final = 5000
_READY_S: Final = 60.0
_LONGEST_SOCKET_PATH: Final = 100
_SEEDED: Final = "seeded"


class DemoStore(StrEnum):
    """Where the demo keeps its objects."""

    EMBEDDED = "embedded"
    MINIO = "minio"


@dataclass(frozen=True)
class Plan:
    """What the command line asked for."""

    directory: Path
    port: int
    once: bool
    store: DemoStore
    database: str

    @property
    def url(self) -> str:
        """Return where the demo is served."""
        return f"http://127.0.0.1:{self.port}"


def demo_command(
    once: Annotated[
        bool,
        typer.Option("--once", help="Exit after the delivery: 0 if every step went well, else 1."),
    ] = False,
    directory: Annotated[
        Path,
        typer.Option("--dir", help="Where the demo keeps its state; used again if it is there."),
    ] = Path("demo-state"),
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1.", min=1, max=65535)
    ] = DEFAULT_PORT,
    store: Annotated[
        DemoStore, typer.Option(help="The object store: our own, or the `minio` found on PATH.")
    ] = DemoStore.EMBEDDED,
    database: Annotated[
        str, typer.Option(help="postgresql://… instead of SQLite in the directory.", metavar="URL")
    ] = "",
) -> None:
    """Run a complete try-out installation and make one delivery through it.

    Example: ddsd demo --once --dir /tmp/try
    """
    plan = Plan(directory.absolute(), port, once, store, database)
    log.configure("warning", LogFormat.CONSOLE)
    console = Console()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            delivered = runner.run(_demonstrate(plan, console))
    except listeners.PortTaken as wrong:
        console.print(
            f"[bold red]The demo cannot run:[/] port {port} is in use; stop what uses it (another"
            " demo?), or choose another port with --port",
            soft_wrap=True,
        )
        raise typer.Exit(1) from wrong
    except (DdsError, listeners.DaemonFailed) as wrong:
        console.print(f"[bold red]The demo cannot run:[/] {wrong}", soft_wrap=True)
        raise typer.Exit(1) from wrong
    if once and not delivered:
        raise typer.Exit(1)


async def _demonstrate(plan: Plan, console: Console) -> bool:
    """Serve, deliver, and go on serving until told to stop; return whether the delivery went well."""
    console.print(_warning(plan))
    async with AsyncExitStack() as stack:
        settings = await _settings(plan, stack)
        services = bootstrap.build(settings)
        await revision.upgrade(services.database)
        new = await seed.make_accounts(services)
        console.print(
            f"{'New' if new else 'Existing'} instance in {plan.directory}", highlight=False
        )
        visit = asyncio.create_task(_visit(plan, services, console))
        try:
            await daemon.serve(services)
        finally:
            visit.cancel()
            await asyncio.wait({visit})
        return not visit.cancelled() and visit.result()


async def _visit(plan: Plan, services: Services, console: Console) -> bool:
    """Make a delivery as soon as the daemon answers; end the daemon afterwards if that was all.

    Cancelled when the daemon has ended by itself: then there is nothing left to end.
    """
    try:
        await _until_served(plan)
        await _seed_projects(plan, services)
        delivered = await _deliver(plan, services, console)
    except (DdsError, TimeoutError) as wrong:
        console.print(f"[bold red]The demo broke off:[/] {wrong}", soft_wrap=True)
        delivered = False
    if plan.once:
        _tell_to_stop()
    else:
        console.print(_accounts(), _how_to(plan))
    return delivered


async def _deliver(plan: Plan, services: Services, console: Console) -> bool:
    story = Story(console)
    scratch = Path(tempfile.mkdtemp(prefix="delivery-", dir=plan.directory))
    try:
        with story.step("make a small data set") as step:
            files = await asyncio.to_thread(dataset.generate, scratch / "source")
            step.detail = f"{len(files)} files"
            step.size_bytes = sum(file.size_bytes for file in files)
        facts = await deliver(
            plan.url,
            unit_user=_credentials("unituser_1"),
            researcher=_credentials("researchuser_1"),
            read_code=lambda username: _newest_code(services, username),
            source=scratch / "source",
            destination=scratch / "received",
            report=story,
        )
    except (DemoFailed, DeliveryError, httpx.HTTPError, OSError) as wrong:
        console.print(f"[bold red]The delivery failed:[/] {wrong}", soft_wrap=True)
        return False
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    console.print(story.table(), _outcome(facts))
    return True


async def _newest_code(services: Services, username: str) -> str:
    """Read the one-time code from the mail that was just written, as its recipient would."""
    address = _person(username).email
    async with reading(services, System()) as work:
        letters = await outbox.listing(work, 20, address)
        newest = next(letter for letter in letters if letter.kind == "one_time_code")
        text = (await outbox.show(work, newest.id)).text
    return next(word for word in text.split() if len(word) == 8 and word.isdigit())


async def _seed_projects(plan: Plan, services: Services) -> None:
    """Make the sample projects once per directory and database."""
    mark = plan.directory / f"{_SEEDED}-{plan.store}{'-postgresql' if plan.database else ''}"
    if not mark.exists():
        await seed.make_projects(services)
        mark.touch()


async def _until_served(plan: Plan) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http, asyncio.timeout(_READY_S):
        while True:
            with suppress(httpx.TransportError):
                if (await http.get(f"{plan.url}/status")).is_success:
                    return
            await asyncio.sleep(0.05)


async def _settings(plan: Plan, stack: AsyncExitStack) -> Settings:
    socket_path = plan.directory / "admin.sock"
    if len(os.fsencode(socket_path)) > _LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"the path of {socket_path} is too long for a Unix socket; choose a shorter --dir"
        )
    plan.directory.mkdir(parents=True, exist_ok=True)
    return Settings.model_validate(
        {
            "instance": {
                "facility": "Demo Facility",
                "contact": "help@demo.example",
                "public_url": plan.url,
                "state_dir": plan.directory,
                "demo": True,
            },
            "listen": {"port": plan.port, "admin_socket": socket_path},
            "database": {"url": plan.database},
            "security": {"logins_per_hour": 1000, "logins_per_hour_per_address": 10_000},
            "store": await _store_section(plan, stack),
        }
    )


async def _store_section(plan: Plan, stack: AsyncExitStack) -> dict[str, object]:
    if plan.store is DemoStore.EMBEDDED:
        return {"kind": "embedded"}
    access = await stack.enter_async_context(running_minio(plan.directory / "minio"))
    secret_file = plan.directory / "minio" / "secret.key"
    secret_file.touch(mode=0o600)
    secret_file.write_text(access.secret_key.text(), encoding="ascii")
    return {
        "kind": "s3",
        "endpoint": access.endpoint,
        "access_key": access.access_key,
        "secret_key_file": secret_file,
    }


def _tell_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _credentials(username: str) -> Credentials:
    person = _person(username)
    return Credentials(person.username, person.email, SecretText(seed.PASSWORD))


def _person(username: str) -> seed.Person:
    return next(person for person in seed.PEOPLE if person.username == username)


def _warning(plan: Plan) -> Panel:
    return Panel(
        "This is a demo: its passwords are public. Never put real data into it.\n"
        f"It listens on this machine only: {plan.url}",
        title="ddsd demo",
        style="bold yellow",
    )


def _outcome(facts: DeliveryFacts) -> str:
    return (
        f"[bold green]Delivered[/] project {facts.project_id}: {len(facts.files)} files, "
        f"{facts.size_original:,} bytes, stored encrypted as {facts.size_stored:,} bytes. Every byte was compared."
    )


def _accounts() -> Table:
    table = Table("User name", "Role", "Unit", title=f"Accounts (password of all: {seed.PASSWORD})")
    for person in seed.PEOPLE:
        table.add_row(person.username, person.role.value, person.unit or "")
    return table


def _how_to(plan: Plan) -> str:
    scripts = Path(sys.executable).parent
    client = (
        "  make stock-client          # once: installs dds-cli in an environment of its own\n"
        "  export DDS_CLI_ENV=development\n"
        "  .venv-stock-client/bin/dds auth login"
        if plan.port == DEFAULT_PORT
        else f"  The stock client can only reach port {DEFAULT_PORT}: start the demo without --port for it."
    )
    return (
        f"\n[bold]Mail[/] (codes, invitations): {plan.url}/demo/mail\n"
        f"\n[bold]The stock client[/], in another terminal:\n{client}\n"
        f"\n[bold]The operator's command line[/]:\n"
        f"  export DDSCTL_SOCKET={plan.directory / 'admin.sock'}\n"
        f"  {scripts / 'ddsctl'} status\n"
        f"  {scripts / 'ddsctl'} mail ls\n"
        "\nStop with Ctrl-C; start again with the same --dir to go on with the same data.\n"
    )
