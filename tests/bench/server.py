"""The measured process: the public plane as the daemon serves it, with its limits and its log, on one port."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from ddsd import log
from ddsd.clock import SystemClock
from ddsd.daemon import guard
from ddsd.db.engine import Database
from ddsd.keys.deriver import Deriver
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.log import AsgiApp
from ddsd.mail.kept import KeptTransport
from ddsd.planes import public
from ddsd.reception import Reception
from ddsd.rim import BodyLimit
from ddsd.secret import SecretText
from ddsd.settings import LogFormat, Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import DownloadSigner, ScopedKey
from ddsd.storage.sigv4 import LinkSigner
from ddsd.storage.stores import Stores
from ddsd.work import Services
from tests.services import SeveralStores, no_users

KEY_FILE = "instance.key"


class SigningStore(MemoryStore):
    """A store without objects whose links are signed as for a real one."""

    def download_signer(self, key: ScopedKey) -> DownloadSigner:
        """See ``ObjectStore.download_signer``."""
        return LinkSigner("http://127.0.0.1:9000", self.region, key)


def make_services(url: str, state_dir: Path, key: InstanceKey) -> Services:
    """Return services as configured by default, but for limits of logins, which the measurements would reach."""
    settings = Settings.model_validate(
        {
            "instance": {"state_dir": state_dir},
            "security": {"logins_per_hour": 100_000, "logins_per_hour_per_address": 100_000},
        }
    )
    security, clock = settings.security, SystemClock()
    cost = KdfCost(security.argon2_memory_kib, security.argon2_iterations, security.argon2_lanes)
    return Services(
        settings=settings,
        clock=clock,
        database=Database(url, pool_size=settings.database.pool_size),
        store=SigningStore(clock=clock),
        stores=Stores(SeveralStores(clock).open, no_users),
        post=KeptTransport(),
        instance_key=key,
        deriver=Deriver(cost),
        wake_jobs=lambda: None,
    )


def main() -> None:
    """Serve until terminated. Arguments: the database's address, the state directory, the port."""
    url, state_dir, port = sys.argv[1:]
    key = InstanceKey.from_text(SecretText((Path(state_dir) / KEY_FILE).read_text()))
    services = make_services(url, Path(state_dir), key)
    settings = services.settings
    guarded = guard(public.build(services), settings)
    limited = BodyLimit(guarded, settings.listen.max_body_mib * 2**20)
    with (Path(state_dir) / "daemon.log").open("a") as journal:
        log.configure("info", LogFormat.CONSOLE, journal)
        _serve(log.RequestLog(limited, "public"), int(port))


def _serve(app: AsgiApp, port: int) -> None:
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http=Reception,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="off",
    )


if __name__ == "__main__":
    main()
