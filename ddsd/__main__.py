"""The command ``ddsd``: the daemon, and what must be possible without it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 (``EX_CONFIG``) the configuration, the instance key or
the database's revision does not fit.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ddsd import __version__
from ddsd.errors import ConfigurationError, DatabaseUnavailable, DdsError

if TYPE_CHECKING:
    from ddsd.settings import Settings

FAILED: Final = 1
CONFIGURATION: Final = 78
PRINTED: Final = Path("-")

app = typer.Typer(
    name="ddsd",
    help="The data delivery daemon.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done; 1 failed; 2 the command line cannot be understood; 78 the configuration,"
        " the instance key or the database's revision does not fit."
    ),
)
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file.",
        show_default="/etc/ddsd/ddsd.toml",
        metavar="FILE",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ddsd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Serve data deliveries."""


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the daemon until it is told to stop (SIGTERM, or Ctrl-C)."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is listened for: it would end us
    settings = _configured(config)
    from ddsd import bootstrap, daemon, listeners
    from ddsd.settings import load

    try:
        daemon.run(bootstrap.build(settings), reread=lambda: load(config))
    except listeners.DaemonFailed as wrong:
        _complain(str(wrong))
        raise typer.Exit(FAILED) from wrong


@app.command()
def migrate(config: ConfigOption = None) -> None:
    """Bring the database to the revision this version needs. Make a backup before."""
    from ddsd import bootstrap

    settings = _configured(config)
    try:
        before, after = asyncio.run(_migrate(settings))
    except DatabaseUnavailable as wrong:
        _complain(bootstrap.why_not_opened(settings, wrong))
        raise typer.Exit(FAILED) from wrong
    typer.echo(f"{settings.database_url}: {before or 'empty'} → {after}")


@app.command("check-config")
def check_config(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the configuration that is in effect, and everything that is wrong with it."""
    from ddsd import bootstrap
    from ddsd.settings import load, sources

    try:
        settings = load(config)
        typer.echo(f"# read: {', '.join(sources(config))}", err=as_json)
        typer.echo(settings.model_dump_json(indent=2) if as_json else _as_lines(settings))
        for warning in bootstrap.check(settings):
            _complain(warning)
    except ConfigurationError as wrong:
        _complain(wrong.message)
        raise typer.Exit(FAILED) from wrong


@app.command("new-instance-key")
def new_instance_key(
    file: Annotated[
        Path, typer.Argument(help="The file to make; it must not exist. -: print the key instead.")
    ],
) -> None:
    """Make the key that seals this installation's secrets."""
    from ddsd.bootstrap import new_instance_key, new_instance_key_text

    if file == PRINTED:
        typer.echo(new_instance_key_text(), nl=False)
        return
    new_instance_key(file)
    typer.echo(f"{file} holds a new instance key. Keep a copy of it in a safe place.")


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def demo(context: typer.Context) -> None:
    """Run a complete try-out installation; `ddsd demo --help` tells more."""
    from ddsd.demo.run import demo_command

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command()(demo_command)
    alone(context.args, prog_name="ddsd demo", standalone_mode=True)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def setup(context: typer.Context) -> None:
    """Set up this machine's installation, or change it; `ddsd setup --help` tells more."""
    from ddsd import log
    from ddsd.settings import LogFormat
    from ddsd.setup.run import setup_command

    for fatal in (signal.SIGHUP, signal.SIGTERM):  # typed secrets are removed then, too
        signal.signal(fatal, lambda number, _frame: sys.exit(128 + number))
    log.configure("error", LogFormat.CONSOLE, io.StringIO())  # what goes wrong is told as an answer
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command()(setup_command)
    alone(context.args, prog_name="ddsd setup", standalone_mode=True)


@app.command("setup-trial")
def setup_trial(config: ConfigOption = None) -> None:
    """Deliver a test file to this installation and back, as its setup does at the end. Nothing of it stays."""
    settings = _configured(config)
    from ddsd.setup import trial

    try:
        facts = trial.run(settings)
    except trial.TrialFailed as wrong:
        _complain(str(wrong))
        raise typer.Exit(FAILED) from wrong
    typer.echo(
        f"delivered {facts.size_original:,} bytes to ourselves and back; every byte was compared"
    )


def main() -> None:
    """Run the command line; refusals are sentences, not tracebacks. What it writes, nobody else may read."""
    os.umask(0o077)
    _leave_unreadable_directory()
    try:
        app()
    except ConfigurationError as wrong:
        _complain(wrong.message)
        sys.exit(CONFIGURATION)
    except DdsError as wrong:
        _complain(wrong.message)
        sys.exit(FAILED)


def _leave_unreadable_directory() -> None:
    """Leave a directory that is closed to this user (``sudo -u``): rich asks for its name, and gives up."""
    try:
        Path.cwd()
    except OSError:
        os.chdir("/")


def _complain(message: str) -> None:
    for line in message.splitlines():
        typer.echo(f"ddsd: {line}", err=True)


def _configured(config: Path | None) -> Settings:
    from ddsd import log
    from ddsd.settings import load

    settings = load(config)
    log.configure(settings.log.level, settings.log.format)
    return settings


async def _migrate(settings: Settings) -> tuple[str | None, str]:
    """Upgrade; return the revisions before and after."""
    from ddsd import bootstrap
    from ddsd.db import revision

    database = bootstrap.database(settings)
    try:
        before = await revision.current(database)
        await revision.upgrade(database)
        return before, revision.head()
    finally:
        await database.close()


def _as_lines(settings: Settings) -> str:
    from ddsd.settings import Settings

    usual = Settings().model_dump(mode="json")
    return "\n".join(
        f"{section}.{key} = {_shown(value)}{'' if value == usual[section][key] else '  # set'}"
        for section, keys in settings.model_dump(mode="json").items()
        for key, value in keys.items()
    )


def _shown(value: object) -> str:
    return json.dumps("" if value is None else value, ensure_ascii=False)


if __name__ == "__main__":
    main()
