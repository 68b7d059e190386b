"""Every answer is tried against the real thing at once: what is wrong is one line that names setting and remedy."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from ddsd import bootstrap, tls
from ddsd.clock import SystemClock
from ddsd.errors import ConfigurationError, DatabaseUnavailable, DdsError
from ddsd.listeners import DaemonFailed, answers, public_listener
from ddsd.mail.smtp import SmtpTransport
from ddsd.settings import Settings, StoreKind
from ddsd.work import Services


async def address(settings: Settings) -> list[str]:
    """Look whether the host of ``instance.public_url`` has an address."""
    host = urlsplit(settings.instance.public_url).hostname or ""
    return _unless_known("instance.public_url", host)


async def way_in(settings: Settings) -> list[str]:
    """Look at the certificate and at the port, unless a daemon of this installation has it already."""
    listen = settings.listen
    try:
        warning = tls.check(listen, SystemClock().now())
        if not answers(listen.admin_socket):
            with public_listener(listen):
                pass
    except ConfigurationError as wrong:
        return wrong.message.splitlines()
    except DaemonFailed as wrong:
        return [f"listen.port: {wrong}"]
    return [f"listen.tls_certificate_file: {warning}"] if warning else []


async def operators(settings: Settings) -> list[str]:
    """Look whether the admin group exists."""
    try:
        bootstrap.admin_group_id(settings.listen.admin_group)
    except ConfigurationError as wrong:
        return [wrong.message]
    return []


async def database(settings: Settings) -> list[str]:
    """Connect to PostgreSQL. SQLite's file is made later, by the daemon's user."""
    if settings.database_url.startswith("sqlite"):
        return []
    try:
        opened = bootstrap.database(settings)
    except ConfigurationError as wrong:
        return [wrong.message]
    try:
        await opened.probe()
    except DatabaseUnavailable as wrong:
        return [f"database.url: {bootstrap.why_not_opened(settings, wrong)}"]
    finally:
        await opened.close()
    return []


async def store(settings: Settings) -> list[str]:
    """Ask an S3 store something with the key that was given. The embedded one is tried by the delivery at the end."""
    section = settings.store
    public = urlsplit(section.public_endpoint).hostname
    problems = _unless_known("store.public_endpoint", public) if public else []
    if section.kind is StoreKind.EMBEDDED:
        return problems
    try:
        async with _parts(settings) as services:
            await services.store.start()
            try:
                await services.store.probe()
            finally:
                await services.store.stop()
    except DdsError as wrong:
        problems.append(f"store.endpoint: {wrong.message}")
    return problems


async def mail(settings: Settings) -> list[str]:
    """Talk to the mail server, up to the point where it accepts a letter to ``instance.contact``; none is sent."""
    try:
        async with _parts(settings) as services:
            if isinstance(services.post, SmtpTransport):
                await services.post.introduce(settings.instance.contact)
    except DdsError as wrong:
        keys = "mail.host, mail.port, mail.security, mail.username and mail.sender"
        return [f"mail.host: {wrong.message} See {keys}."]
    return []


@asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[Services]:
    services = bootstrap.build(settings)
    try:
        yield services
    finally:
        services.deriver.close()
        await services.database.close()


def _unless_known(key: str, host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return []
    try:
        socket.getaddrinfo(host, None)
    except OSError as wrong:
        return [
            f"{key}: the name {host} leads to no address ({wrong.strerror}): mind the spelling, or the DNS"
        ]
    return []
