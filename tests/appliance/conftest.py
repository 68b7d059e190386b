"""Packages, made once, and machines to install them on. Without DDSD_TEST_APPLIANCE nothing here is booted or built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance import containers, debian, guide
from tests.appliance.containers import Podman
from tests.appliance.customers import URL
from tests.appliance.debian import Machine
from tests.parts import absent

CHECKOUT = Path(__file__).parents[2]
WANTED = "DDSD_TEST_APPLIANCE"


@pytest.fixture(scope="session")
def appliance() -> None:
    """The wish to have machines booted; a skip without it."""
    if not os.environ.get(WANTED):
        pytest.skip(f"boots machines and builds packages: set {WANTED}=1")
    if lacking := debian.why_not():
        absent("a machine to boot", lacking)


def make_package(script: str, directory: Path, *arguments: str) -> Path:
    """Run one of the programs in ``packaging``; return the one file it has made."""
    done = subprocess.run(
        [sys.executable, CHECKOUT / "packaging" / script, directory, *arguments],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="session")
def deb(appliance: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for the Debian that machines have."""
    return make_package("deb.py", tmp_path_factory.mktemp("deb"), "deb12")


@pytest.fixture(scope="session")
def newer(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a version to come, whose reference of the configuration is another one."""
    return remade(deb, tmp_path_factory.mktemp("newer"), "9.1.0")


def remade(package: Path, directory: Path, version: str, *, preinst: str = "") -> Path:
    """Make another version of a package, with the reference changed, and perhaps another script before."""
    root, made = directory / "root", directory / f"ddsd_{version}.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
    control = root / "DEBIAN/control"
    lines = control.read_text().splitlines()
    lines[1] = f"Version: {version}"
    control.write_text("\n".join([*lines, ""]))
    reference = root / "usr/share/ddsd/ddsd.toml"
    reference.write_text(f"# As of {version}.\n{reference.read_text()}")
    if preinst:
        (root / "DEBIAN/preinst").write_text(preinst)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", root, made],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    shutil.rmtree(root)
    return made


@pytest.fixture(scope="session")
def bundle(appliance: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive for machines without a network."""
    return make_package("bundle.py", tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def served(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the package installed and the service started, as the page says."""
    with new_machine(debian.base(), tmp_path_factory.mktemp("served")) as machine:
        give(machine, deb)
        machine.script(guide.script("The Debian package"))
        machine.script(guide.script("The first start"))
        yield machine


@pytest.fixture(scope="session")
def storage(appliance: None) -> Iterator[Podman]:
    """Podman with nothing but a Debian."""
    if lacking := containers.why_not():
        absent("podman", lacking)
    with containers.of_its_own(debian.for_images()) as podman:
        yield podman


@pytest.fixture(scope="session")
def image(storage: Podman) -> Podman:
    """Podman with the image, made from what `.containerignore` lets in and from wheels."""
    allowed = [
        line[1:]
        for line in CHECKOUT.joinpath(".containerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for name in (*allowed, "config/quadlet", "Containerfile", ".containerignore"):
        source, target = CHECKOUT / name, storage.workplace / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copyfile(source, target)
    storage.script(guide.script("Without a network", guide.PODMAN))
    storage.script(guide.script("Build the image", guide.PODMAN))
    return storage


@contextmanager
def new_machine(below: Path, directory: Path, *binds: Path) -> Iterator[Machine]:
    """Boot a machine with a disk like ``below``; afterwards nothing of it is left."""
    with (
        debian.layer(below, directory / "disk") as root,
        debian.booted(root, *binds) as machine,
    ):
        yield machine


def give(machine: Machine, file: Path) -> None:
    """Copy a file to root's home in there, where an operator would have put it."""
    shutil.copyfile(file, machine.outside("/root") / file.name)


def deliver(
    machine: Machine,
    directory: Path,
    *stock_client: Path,
    socket: str = "/run/ddsd/admin.sock",
    url: str = URL,
) -> str:
    """Have a delivery made by people on the machine's network; return what was delivered."""
    told = (machine.outside(socket), directory, url, *stock_client)
    done = subprocess.run(
        machine.beside(sys.executable, "-m", "tests.appliance.customers", *map(str, told)),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + machine.lately()
    return done.stdout
