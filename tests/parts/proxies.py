"""Real reverse proxies, run with the very files of ``config/``: only names, ports and certificates are put in.

The programs are Debian's ``nginx`` and ``caddy``; without one the tests that need it are skipped by name.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts import absent
from tests.parts.certificates import Authority
from tests.parts.ports import LOOPBACK, free_port

CONFIG = Path(__file__).parents[2] / "config"
HOST = "localhost"
_READY_S = 30.0
_NGINX = """\
daemon off;
master_process on;
{user}
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log {place}/access.log;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/sites/*.conf;
}}
"""


@dataclass(frozen=True)
class Site:
    """Where a proxy before a daemon and a store is to be found, and these from it."""

    place: Path
    authority: Authority
    daemon_port: int
    store_port: int
    daemon_outside: int = field(default_factory=free_port)
    store_outside: int = field(default_factory=free_port)

    @property
    def daemon_url(self) -> str:
        """The daemon, from outside."""
        return f"https://{HOST}:{self.daemon_outside}"

    @property
    def store_url(self) -> str:
        """The store, from outside."""
        return f"https://{HOST}:{self.store_outside}"

    def filled_in(self, file: Path, certificate: Path, key: Path) -> str:
        """Return the example with this site's names, ports and certificate in it."""
        text = file.read_text()
        for there, here in (
            ("/etc/ssl/ddsd/fullchain.pem", str(certificate)),
            ("/etc/ssl/ddsd/privkey.pem", str(key)),
            ("127.0.0.1:5000", f"{LOOPBACK}:{self.daemon_port}"),
            ("127.0.0.1:9000", f"{LOOPBACK}:{self.store_port}"),
        ):
            assert there in text or file.name == "ddsd.conf" or file.name == "store.conf", there
            text = text.replace(there, here)
        return text


@contextmanager
def nginx(site: Site) -> Iterator[None]:
    """Run nginx before the site."""
    program = _program("nginx", "/usr/sbin/nginx")
    certificate, key = site.authority.issue(HOST).write(site.place)
    sites = site.place / "sites"
    sites.mkdir()
    for name, port in (("ddsd.conf", site.daemon_outside), ("store.conf", site.store_outside)):
        text = site.filled_in(CONFIG / "nginx" / name, certificate, key)
        text = re.sub(r"(?m)^ *listen \[::\].*\n", "", text)
        text = text.replace("listen 80;", f"listen {LOOPBACK}:{free_port()};")
        (sites / name).write_text(text.replace("listen 443 ssl;", f"listen {LOOPBACK}:{port} ssl;"))
    main = site.place / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    main.write_text(_NGINX.format(place=site.place, user=user))
    with _running([program, "-p", str(site.place), "-c", str(main)], site):
        yield


@contextmanager
def caddy(site: Site) -> Iterator[None]:
    """Run Caddy before the site."""
    program = _program("caddy")
    certificate, key = site.authority.issue(HOST).write(site.place)
    text = site.filled_in(CONFIG / "caddy" / "Caddyfile", certificate, key)
    text = text.replace("# tls ", "tls ")
    text = text.replace("\ndds.example.org {", f"\nhttps://{HOST}:{site.daemon_outside} {{")
    text = text.replace("\ndata.example.org {", f"\nhttps://{HOST}:{site.store_outside} {{")
    options = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind {LOOPBACK}\n}}\n"
    main = site.place / "Caddyfile"
    main.write_text(options + text)
    with _running([program, "run", "--adapter", "caddyfile", "--config", str(main)], site):
        yield


PROXIES = {"nginx": nginx, "caddy": caddy}


def _program(name: str, usual: str = "") -> str:
    found = shutil.which(name) or (usual if Path(usual).is_file() else None)
    if found is None:
        absent(name, f"install Debian's package {name}")
    return found


@contextmanager
def _running(command: list[str], site: Site) -> Iterator[None]:
    log = site.place / "proxy.log"
    environment = {"PATH": os.defpath, "HOME": str(site.place)}
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    try:
        for port in (site.daemon_outside, site.store_outside):
            _wait_until_open(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(_READY_S)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + _READY_S
    while True:
        with socket.socket() as caller:
            if caller.connect_ex((LOOPBACK, port)) == 0:
                return
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < give_up, log.read_text(errors="replace")
        time.sleep(0.05)
