"""The container image: what is in it, and a facility that does with it what docs/podman.md says.

The image is built once, of a Debian that debootstrap made, and without a network. Each test starts with no container,
no volume and no secret.
"""

from __future__ import annotations

import re
import shlex
import stat
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from ddsd.demo import dataset
from ddsd.settings import load
from tests.appliance import guide, quadlets
from tests.appliance.conftest import CHECKOUT
from tests.appliance.containers import IMAGE, NAME, ContainerSite, Podman
from tests.appliance.customers import READER, URL, make_stock_delivery
from tests.parts import ports
from tests.parts.stock_client import StockClient

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stock-client")]

PAGE: Final = guide.PODMAN
STORE_PORT: Final = 9000
GATEWAY: Final = "10.89.27.1"
"""Who comes by a published port is this to the daemon, until a proxy that is believed says more."""
EX_CONFIG: Final = 78
EXECUTABLE: Final = {
    "opt/ddsd/bin/ddsctl", "opt/ddsd/bin/ddsd", "opt/ddsd/bin/rclone", "usr/bin/python3.11",
}  # fmt: skip
PLACES_OF_THE_DAEMON: Final = {"run/ddsd", "var/lib/ddsd"}
READY: Final = re.compile(r"daemon\.ready")


@pytest.fixture
def podman(image: Podman) -> Iterator[Podman]:
    """Podman with the image and without anything that was made of it."""
    image.clear()
    image.workplace.joinpath("instance.key").unlink(missing_ok=True)
    yield image
    image.clear()


@pytest.fixture
def published(stock_port: int) -> None:
    """The ports that the page publishes, for one test of this machine."""
    if not ports.is_bindable(STORE_PORT):
        pytest.fail(f"port {STORE_PORT} of loopback is taken; stop what uses it", pytrace=False)


@pytest.fixture
def prepared(podman: Podman) -> Podman:
    """Key, network, volume and configuration, as the page says."""
    for heading in ("The key", "The network and the volume", "Configure"):
        podman.script(guide.script(heading, PAGE))
    return podman


@pytest.fixture
def site(published: None, prepared: Podman) -> ContainerSite:
    """The daemon, serving, with a facility's people."""
    prepared.script(guide.script("Start", PAGE))
    serving(prepared)
    running = ContainerSite(Path("/run/ddsd/admin.sock"), podman=prepared)
    running.invite_people()
    return running


def serving(podman: Podman, times: int = 1) -> None:
    """Return when the daemon in the container has begun to serve."""
    deadline = time.monotonic() + 60
    while len(READY.findall(podman.log())) < times:
        state = podman.inspect("container", NAME)["State"]
        assert state["Status"] in {"created", "running"}, podman.log()
        assert time.monotonic() < deadline, podman.log()
        time.sleep(0.05)


def options() -> str:
    """Return the line in which the page names the options of all its containers."""
    (line,) = (one for one in guide.commands("Start", PAGE) if one.startswith("options="))
    return line


def run_without(podman: Podman, value: str, command: str = "serve") -> tuple[int, str]:
    """Run the image to its end with the page's options but the one whose value begins so; return how it ended."""
    (given,) = shlex.split(options().removeprefix("options="))
    words = given.split()
    (place,) = (at for at, word in enumerate(words) if word.startswith(value))
    done = podman.try_to("run", "--rm", *words[: place - 1], *words[place + 1 :], IMAGE, command)
    return done.returncode, done.stderr


def walk(podman: Podman) -> Iterator[tuple[str, Path, int]]:
    """Yield everything in the image: its path there, where it can be read, its mode."""
    root = Path(podman.run("image", "mount", IMAGE).strip())
    for path in sorted(root.rglob("*")):
        yield str(path.relative_to(root)), path, path.lstat().st_mode
    podman.run("image", "unmount", IMAGE)


def test_the_image_holds_what_runs_and_nothing_to_build_with_or_to_type_into(image: Podman) -> None:
    executable, scripts, refuse = set(), [], []
    for name, path, mode in walk(image):
        if not stat.S_ISREG(mode):
            continue
        if mode & 0o111 and ".so" not in path.name and "/ld-" not in name:
            executable.add(name)
        with path.open("rb") as file:
            first = file.readline(200)
        if re.match(rb"#!.*\b(ba|da|z|k|c)?sh\b", first):
            scripts.append(name)
        if re.search(
            r"\.(whl|deb|a|h|c|pyx|sh)$|/(pip|setuptools|ensurepip|tests?)/|^var/cache", name
        ):
            refuse.append(name)
    assert executable == EXECUTABLE
    assert scripts == []
    assert refuse == []


def test_nothing_in_the_image_can_be_changed_by_the_daemon_but_its_places(image: Podman) -> None:
    owned, open_to_all, privileged = set(), set(), set()
    for name, path, mode in walk(image):
        if path.lstat().st_uid:
            owned.add(name)
        if mode & 0o002 and not stat.S_ISLNK(mode):
            open_to_all.add(name)
        if mode & 0o6000:
            privileged.add(name)
    assert (owned, open_to_all, privileged) == (PLACES_OF_THE_DAEMON, {"tmp"}, set())


def test_the_image_lists_the_packages_its_libraries_are_from(image: Podman) -> None:
    listed = {
        Path(name).name for name, _, _ in walk(image) if name.startswith("var/lib/dpkg/status.d/")
    }
    assert {"libc6", "libssl3", "libsqlite3-0", "python3.11-minimal", "tzdata"} <= listed


def test_the_image_says_what_it_is(image: Podman) -> None:
    about = image.inspect("image", IMAGE)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    labels = about["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert about["Config"]["User"] == "10001:10001"
    assert about["Config"]["Entrypoint"] == ["ddsd"]
    assert about["Healthcheck"]["Test"] == ["CMD", "ddsctl", "status", "--json"]
    assert image.run("run", "--rm", IMAGE, "--version").strip() == f"ddsd {project['version']}"
    sys.stdout.write(f"image: {about['Size'] / 1e6:.0f} MB\n")


@pytest.mark.parametrize(
    ("value", "command", "said"),
    [
        (
            "ddsd:/var/lib/ddsd",
            "check-config",
            "instance.state_dir: /var/lib/ddsd may not be written",
        ),
        ("ddsd:/var/lib/ddsd", "migrate", "/var/lib/ddsd"),
        ("ddsd-instance-key,", "serve", "instance.key_file: there is no instance key"),
        ("ddsd.env", "serve", "there is no configuration file"),
        ("no-new-privileges", "serve", "ddsd migrate"),
    ],
    ids=["no volume", "no volume to migrate", "no key", "no configuration", "no database"],
)
def test_a_container_that_lacks_something_says_what_and_stops(
    prepared: Podman, value: str, command: str, said: str
) -> None:
    status, answer = run_without(prepared, value, command)
    assert status in {1, EX_CONFIG}
    assert said in answer
    assert "Traceback" not in answer


def test_the_health_check_fails_where_no_daemon_answers(podman: Podman) -> None:
    waiting = '["python", "-c", "import signal; signal.pause()"]'
    podman.run("run", "--detach", "--name", NAME, "--entrypoint", waiting, IMAGE)
    assert podman.try_to("healthcheck", "run", NAME).returncode == 1


def test_the_stock_client_delivers_through_the_published_ports(
    site: ContainerSite, stock_client_binary: Path, tmp_path: Path
) -> None:
    dataset.generate(tmp_path / "source", reads_per_file=50)
    project = make_stock_delivery(site, stock_client_binary, tmp_path / "source", tmp_path)
    shown = site.podman.script(guide.script("Use it", PAGE))
    assert "store           embedded, answers" in shown
    (listed,) = site.ctl("project", "ls")
    assert (listed["public_id"], listed["status"]) == (project, "Available")
    assert {one["address"] for one in site.ctl("session", "ls")} == {GATEWAY}
    assert "Traceback" not in site.podman.log()
    kept = site.podman.run("exec", NAME, "python", "-c", "import os; print(*os.listdir())").split()
    assert {one for one in kept if not one.startswith("ddsd.sqlite3")} == {"store"}
    about = site.podman.inspect("container", NAME)
    assert about["HostConfig"]["ReadonlyRootfs"] is True
    sys.stdout.write(f"resident after a delivery: {site.podman.resident_mib()} MiB\n")


def test_a_daemon_that_is_told_to_stop_drains_and_starts_again(site: ContainerSite) -> None:
    site.podman.run("stop", NAME)
    state = site.podman.inspect("container", NAME)["State"]
    assert state["ExitCode"] == 0
    assert re.search(r"daemon\.draining(.|\n)*daemon\.stopped", site.podman.log())
    began = time.monotonic()
    site.podman.run("start", NAME)
    serving(site.podman, times=2)
    took = time.monotonic() - began
    assert httpx.get(f"{URL}/status", trust_env=False).json() == {"status": "ready"}
    sys.stdout.write(
        f"from `podman start` to serving: {took:.1f} s; idle: {site.podman.resident_mib()} MiB\n"
    )


def test_an_upgrade_over_the_same_volume_keeps_what_was_delivered(
    site: ContainerSite, stock_client_binary: Path, tmp_path: Path
) -> None:
    dataset.generate(tmp_path / "source", reads_per_file=50)
    project = make_stock_delivery(site, stock_client_binary, tmp_path / "source", tmp_path)
    for name in ("Containerfile", "pyproject.toml", "ddsd/__init__.py"):
        file = site.podman.workplace / name
        file.write_text(file.read_text().replace('"0.1.0"', '"0.1.1"'))
    site.podman.script("\n".join([options(), guide.script("Upgrade", PAGE)]))
    serving(site.podman)
    assert site.ctl("status")["version"] == "0.1.1"
    labels = site.podman.inspect("image", IMAGE)["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "0.1.1"
    recipient = StockClient(stock_client_binary, tmp_path / READER)
    again = recipient.run("data", "get", "-p", project, "-a", "--verify-checksum", "-d", "again")
    assert again.exit_code == 0, again.output
    assert site.podman.workplace.joinpath("before-upgrade.tar").stat().st_size > 0


def test_the_daemon_starts_with_the_options_that_quadlets_become(
    published: None, prepared: Podman
) -> None:
    lines = quadlets.commands(quadlets.ALONE)
    for service in ("ddsd-migrate", "ddsd"):
        words = [
            word.replace("/etc/ddsd/", f"{prepared.workplace}/")
            for word in lines[service]
            if not word.startswith(("--cgroups=", "--sdnotify=", "--cidfile=", "--replace"))
        ]
        prepared.run(*words)
    serving(prepared)
    assert prepared.try_to("healthcheck", "run", NAME).returncode == 0
    about = prepared.inspect("container", NAME)
    assert about["EffectiveCaps"] in (None, [])
    assert about["Config"]["StopTimeout"] == 45


def test_every_variable_of_the_container_is_a_setting() -> None:
    lines = CHECKOUT.joinpath("config/quadlet/ddsd.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = load(None, given)
    assert settings.listen.allow_cleartext
    assert settings.listen.trusted_proxies == (f"{GATEWAY}/32",)
    assert settings.store.port == STORE_PORT
    subnet = CHECKOUT.joinpath("config/quadlet/ddsd.network").read_text()
    assert f"Gateway={GATEWAY}" in subnet


def test_the_image_is_built_from_all_that_the_package_includes() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    allowed = CHECKOUT.joinpath(".containerignore").read_text().splitlines()
    needed = [*wheel["packages"], *wheel.get("force-include", {}), project["project"]["readme"]]
    assert [one for one in needed if f"!{one}" not in allowed] == []


def test_the_containerfile_and_the_project_have_one_version() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    text = CHECKOUT.joinpath("Containerfile").read_text()
    assert re.findall(r'image\.version="(.+?)"', text) == [project["version"]]
    assert re.search(r"^(CMD|ENTRYPOINT|HEALTHCHECK) (?!.*\[)", text, re.MULTILINE) is None
