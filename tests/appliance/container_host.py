"""A machine with Debian 13's podman and systemd, on which the files of config/quadlet are started for real.

What this kind of machine cannot give (control groups for limits, limits above ours) is taken back by drop-ins and by
podman's own configuration; everything else is as docs/podman.md says. No registry is reached: the images of PostgreSQL
and MinIO are made here, and begin as their projects' images do, as far as the quadlets need it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.appliance import debian
from tests.appliance.conftest import CHECKOUT
from tests.appliance.containers import IMAGE, NAME, Podman
from tests.appliance.debian import Machine

ENVIRONMENT: Final = "/etc/ddsd/ddsd.env"
_QUADLETS: Final = "etc/containers/systemd"
_NOT_HERE: Final = {
    "etc/containers/containers.conf": '[containers]\npids_limit = 0\ndefault_ulimits = ["nofile=1024:4096"]\n',
    f"{_QUADLETS}/ddsd.container.d/here.conf": "[Container]\nPidsLimit=0\n",
    f"{_QUADLETS}/ddsd-minio.container.d/here.conf": "[Container]\nUlimit=\nUlimit=nofile=4096:4096\n",
}
_UNNEEDED: Final = (
    "./dev", "./usr/share/doc", "./usr/share/locale", "./usr/share/man", "./usr/lib/x86_64-linux-gnu/libLLVM*",
    "./usr/lib/postgresql/*/lib/bitcode", "./usr/lib/postgresql/*/lib/llvmjit*", "./var/cache", "./var/lib/apt",
)  # fmt: skip

# As the PostgreSQL project's: it begins as root, makes a cluster in an empty PGDATA with one superuser, one database
# and passwords for whoever comes by network, and serves as the user postgres. Meanwhile it listens on its Unix socket.
_POSTGRES: Final = """\
#!/bin/sh
set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    chown -R postgres "$PGDATA" /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl --wait --silent --options="-c listen_addresses=''" start
    createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    pg_ctl --wait --silent --mode=fast stop
fi
exec "$@"
"""
# As MinIO's: what is not the program are its arguments.
_MINIO: Final = """\
#!/bin/sh
[ "$1" = minio ] || set -- minio "$@"
exec "$@"
"""
_PART_IMAGES: Final = """\
podman build --quiet --tag localhost/postgres:17 - <<'END'
FROM localhost/parts:1
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
CMD ["postgres"]
END
podman build --quiet --tag localhost/minio:latest - <<'END'
FROM localhost/parts:1
ENV MINIO_ROOT_USER_FILE=access_key MINIO_ROOT_PASSWORD_FILE=secret_key MINIO_CONFIG_ENV_FILE=config.env
VOLUME /data
ENTRYPOINT ["minio-entrypoint"]
CMD ["minio"]
END
"""


@dataclass(frozen=True)
class Disk:
    """What the machine keeps when it is switched off: its root, and where podman keeps images and volumes."""

    root: Path
    containers: Path

    @contextmanager
    def booted(self) -> Iterator[Machine]:
        """Switch it on."""
        options = (
            "--capability=all", "--system-call-filter=@keyring bpf", "--bind=/dev/fuse",
            f"--bind={self.containers}:/var/lib/containers",
        )  # fmt: skip
        with debian.booted(self.root, options=options, unified=True) as machine:
            yield machine


@contextmanager
def new_disk(directory: Path) -> Iterator[Disk]:
    """Make one, with our configuration in root's home and nothing of ours installed."""
    # Images lie where layers can be mounted, which is neither memory nor another layer.
    with (
        TemporaryDirectory(prefix="ddsd-containers-", dir="/var/tmp") as containers,
        debian.layer(debian.for_containers(), directory / "disk") as root,
    ):
        shutil.copytree(CHECKOUT / "config", root / "root/config")
        for name, content in _NOT_HERE.items():
            place = root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        yield Disk(root, Path(containers))


def give_image(machine: Machine, podman: Podman) -> None:
    """Bring our image there, as a file."""
    file = machine.outside("/root/ddsd.tar")
    podman.run("save", IMAGE, "--output", str(file))
    machine.script("podman load --quiet --input ddsd.tar; rm ddsd.tar")


def make_part_images(machine: Machine, minio: Path, scratch: Path) -> None:
    """Make the images of PostgreSQL and MinIO there."""
    programs = scratch / "usr/local/bin"
    programs.mkdir(parents=True)
    for name, content in {"postgres": _POSTGRES, "minio": _MINIO}.items():
        programs.joinpath(f"{name}-entrypoint").write_text(content)
    shutil.copyfile(minio, programs / "minio")
    for program in programs.iterdir():
        program.chmod(0o755)
    file = machine.outside("/root/parts.tar")
    left_out = [f"--exclude={one}" for one in _UNNEEDED]
    ours = [f"./{one.relative_to(scratch)}" for one in programs.iterdir()]
    subprocess.run(
        ["tar", "--create", "--file", file, *left_out, "-C", debian.with_postgresql(), ".", "-C", scratch, *ours],
        check=True,
    )  # fmt: skip
    machine.script("podman import --quiet parts.tar localhost/parts:1; rm parts.tar")
    machine.script(_PART_IMAGES)


def admin_socket(machine: Machine) -> str:
    """Return where the daemon's admin socket is to be found in there, outside of the container."""
    first = machine.run("podman", "inspect", "--format", "{{.State.Pid}}", NAME).strip()
    return f"/proc/{first}/root/run/ddsd/admin.sock"
