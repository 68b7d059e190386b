"""``ddsctl setup``: what sets up the server is the server's; this hands the terminal over to it."""

from __future__ import annotations

import os
import sys

import typer

HANDED_OVER = {"allow_extra_args": True, "ignore_unknown_options": True}


def setup(ctx: typer.Context) -> None:
    """Set up this machine's installation, or change it: configuration, keys, first unit, a test delivery.

    Asks, tries each answer against the real thing, and writes nothing before you agree. Takes the options of
    ddsd setup, which it runs: ddsctl setup --help lists them.

    Example: ddsctl setup --config /etc/ddsd/ddsd.toml
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "ddsd", "setup", *ctx.args])  # noqa: S606
