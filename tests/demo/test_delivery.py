"""The demonstration's delivery: it says it succeeded only when it did, and otherwise where not.

Proven here against a stand-in; the daemon and a real store are the end-to-end test's matter.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from ddsctl.delivery import DamagedObject
from ddsd.demo.dataset import generate
from ddsd.demo.delivery import Credentials, DeliveryFacts, DemoFailed, deliver
from ddsd.demo.story import Story
from ddsd.secret import SecretText
from tests.demo.service_double import CODES, PASSWORDS, PROJECT, ServiceDouble, serving

SENDER = Credentials("sender", "s@genom.example", SecretText(PASSWORDS["sender"]))
RESEARCHER = Credentials("researcher", "r@uni.example", SecretText(PASSWORDS["researcher"]))


@pytest.fixture
async def service() -> AsyncIterator[ServiceDouble]:
    async with serving(ServiceDouble()) as service:
        yield service


@pytest.fixture
def source(tmp_path: Path) -> Path:
    generate(tmp_path / "source", reads_per_file=300)
    return tmp_path / "source"


async def read_code(username: str) -> str:
    return CODES[username]


async def delivered(
    service: ServiceDouble,
    source: Path,
    *,
    sender: Credentials = SENDER,
    output: io.StringIO | None = None,
) -> DeliveryFacts:
    return await deliver(
        service.url,
        unit_user=sender,
        researcher=RESEARCHER,
        read_code=read_code,
        source=source,
        destination=source.parent / "destination",
        report=Story(Console(file=output or io.StringIO(), width=200)),
    )


def tree(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


async def test_a_delivery_arrives_as_it_was_sent(service: ServiceDouble, source: Path) -> None:
    facts = await delivered(service, source)

    originals = tree(source)
    assert tree(source.parent / "destination") == originals
    assert facts.project_id == PROJECT
    assert [file.name for file in facts.files] == service.updated == sorted(originals)
    assert facts.size_original == sum(map(len, originals.values()))
    assert facts.size_stored == sum(map(len, service.objects.values()))
    assert len(service.objects) == len(originals)


async def test_nothing_is_stored_in_the_clear(service: ServiceDouble, source: Path) -> None:
    await delivered(service, source)

    fragments = {content[:64] for content in tree(source).values() if content}
    assert not any(part in blob for part in fragments for blob in service.objects.values())


async def test_the_story_has_a_line_for_every_step_and_no_secret(
    service: ServiceDouble, source: Path
) -> None:
    output = io.StringIO()

    await delivered(service, source, output=output)

    told = output.getvalue()
    assert told.count("\n") == told.count("✓") == 9 + 3 * len(service.files)
    for name in service.files:
        assert f"upload {name}" in told
        assert f"download {name}" in told
    for secret in (*PASSWORDS.values(), *CODES.values(), "whole.", "a secret key"):
        assert secret not in told


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("GET user/encrypted_token", "log in as sender"),
        ("POST proj/create", "create a project"),
        ("GET file/match", "ask where to upload"),
        ("POST proj/upload/complete", "say that the upload is complete"),
        ("POST proj/status", "release the project"),
        ("GET proj/list", "find the project as the researcher"),
        ("GET proj/private", "ask what there is to download"),
    ],
)
async def test_a_refusal_names_the_step_the_status_and_the_message(
    service: ServiceDouble, source: Path, call: str, step: str
) -> None:
    service.answers[call] = (503, {"message": "Maintenance of DDS is ongoing."})

    with pytest.raises(DemoFailed, match="Maintenance of DDS is ongoing") as failed:
        await delivered(service, source)

    assert (failed.value.step, failed.value.status) == (step, 503)


async def test_an_answer_without_what_is_needed_is_refused(
    service: ServiceDouble, source: Path
) -> None:
    service.answers["GET s3/proj"] = (200, {"url": service.url, "bucket": None})

    with pytest.raises(DemoFailed, match="bucket, keys"):
        await delivered(service, source)


async def test_a_wrong_password_is_refused_by_name(service: ServiceDouble, source: Path) -> None:
    stranger = Credentials("sender", "s@genom.example", SecretText("another word"))

    with pytest.raises(DemoFailed, match="Missing or incorrect credentials") as failed:
        await delivered(service, source, sender=stranger)

    assert failed.value.status == 401
    assert "another word" not in str(failed.value)


async def test_a_project_that_the_researcher_cannot_open_is_a_failure(
    service: ServiceDouble, source: Path
) -> None:
    service.access = False

    with pytest.raises(DemoFailed, match="without access"):
        await delivered(service, source)


class FlippingStore(ServiceDouble):
    """Its store gives back every object with one bit changed."""

    def _store(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        status, answer = super()._store(method, path, body)
        if method == "GET" and status == 200:
            answer = answer[:20] + bytes([answer[20] ^ 1]) + answer[21:]
        return status, answer


async def test_a_flipped_bit_leaves_no_file(source: Path) -> None:
    async with serving(FlippingStore()) as service:
        with pytest.raises(DamagedObject):
            await delivered(service, source)

    assert tree(source.parent / "destination") == {}


class ForgetfulStore(ServiceDouble):
    """Its store has nothing when it is asked."""

    def _store(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return super()._store(method, path, body) if method == "PUT" else (404, b"gone")


async def test_an_object_that_is_gone_is_told_with_its_name(source: Path) -> None:
    async with serving(ForgetfulStore()) as service:
        with pytest.raises(DemoFailed, match=r"download .*: gone") as failed:
            await delivered(service, source)

    assert failed.value.status == 404


class RefusingStore(ServiceDouble):
    """Its store takes nothing."""

    def _store(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return 403, b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"


async def test_a_store_that_refuses_is_told_with_its_status(source: Path) -> None:
    async with serving(RefusingStore()) as service:
        with pytest.raises(DemoFailed, match="AccessDenied") as failed:
            await delivered(service, source)

    assert failed.value.status == 403
    assert "POST file/new" not in service.calls


class MisnamingService(ServiceDouble):
    """It lists a file under a name that leads out of the destination."""

    def _within_project(self, name: str, username: str, body: object) -> object:
        if name == "GET file/all/info":
            self.files["../outside"] = next(iter(self.files.values()))
        return super()._within_project(name, username, body)


async def test_a_file_that_was_not_sent_is_refused(source: Path) -> None:
    async with serving(MisnamingService()) as service:
        with pytest.raises(DemoFailed, match="not those that were uploaded"):
            await delivered(service, source)

    assert not (source.parent / "destination").exists()


async def test_a_destination_with_something_else_in_it_is_a_failure(
    service: ServiceDouble, source: Path
) -> None:
    (source.parent / "destination").mkdir()
    (source.parent / "destination" / "left over").touch()

    with pytest.raises(DemoFailed, match="different files"):
        await delivered(service, source)
