"""The stock wire: files, and the grants with which their bytes travel (wire contract, section 4)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from ddsd.access import Action
from ddsd.errors import (
    AlreadyExists,
    DdsError,
    InvalidFields,
    InvalidInput,
    MissingField,
    Unavailable,
)
from ddsd.files import downloads, grants, intake, listing, names, registration
from ddsd.files.listing import FileFacts
from ddsd.files.registration import NewFile
from ddsd.planes.v1.call import Asked, Call, as_flag
from ddsd.planes.v1.wire import Json
from ddsd.projects import gate
from ddsd.projects.tables import Project

_ENCODE: Final = msgspec.json.Encoder().encode
_LARGEST: Final = 2**50
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_REQUIRED: Final = {
    "name": "File name required.",
    "name_in_bucket": "Remote file name required.",
    "subpath": "Subpath required.",
    "size": "File size required.",
    "size_processed": "Processed file size required.",
    "compressed": "Compression information required.",
    "salt": "Salt required.",
    "public_key": "Public key required.",
    "checksum": "Checksum required.",
}
_TRUE: Final = frozenset({"t", "true", "on", "y", "yes", "1"})
_FALSE: Final = frozenset({"f", "false", "off", "n", "no", "0"})


@get("/s3/proj")
async def upload_keys(call: NamedDependency[Call]) -> Json:
    """Grant uploads into the project's bucket: a key for that bucket alone, that expires."""
    async with call.reading(Action.UPLOAD) as asked:
        project = await asked.project()
        gate.require_in_progress(project)
    grant = await grants.grant_upload(call.services, asked.caller.member, project)
    return {
        "safespring_project": project.public_id,
        "url": grant.endpoint,
        "keys": {"access_key": grant.access_key, "secret_key": grant.secret_key.text()},
        "bucket": grant.bucket,
    }


@get("/file/match")
async def match(call: NamedDependency[Call]) -> Json:
    """Return which of the names the project has already."""
    async with call.reading(Action.UPLOAD) as asked:
        wanted = call.names("files")
        if not wanted:
            raise InvalidInput("No files specified.")
        project = await asked.project()
        found = await registration.match(asked.work, project, wanted)
    return {"files": dict(found) or None}


@post("/file/new", status_code=200)
async def new(call: NamedDependency[Call]) -> Json:
    """Register a file that was stored."""
    async with call.reading(Action.UPLOAD) as asked:
        body = call.json_object()
        project = await asked.project()
        gate.require_in_progress(project)
    file = _new_file(body)
    await intake.add(call.services, asked.caller.member, project, file)
    return {"message": f"File '{file.name}' added to db."}


@put("/file/new")
async def replace(call: NamedDependency[Call]) -> Json:
    """Register the new content of a file that was there."""
    async with call.changing(Action.UPLOAD) as asked:
        body = call.json_object()
        project = await asked.project()
        gate.require_in_progress(project)
        if not all(body.get(field) for field in ("name", "name_in_bucket", "subpath")) or (
            body.get("size") is None
        ):
            raise InvalidInput("Information is missing, cannot add file to database.")
        file = _new_file(body)
        await registration.replace(asked.work, project, file)
    return {"message": f"File '{file.name}' updated in db."}


@put("/file/failed/add")
async def add_failed(call: NamedDependency[Call]) -> Json:
    """Register files whose first registration failed, if their objects are there."""
    async with call.reading(Action.UPLOAD) as asked:
        body = call.json_object()
        project = await asked.project()
        gate.require_in_progress(project)
    errors: dict[str, Json] = {}
    added: list[str] = []
    for name, entry in body.items():
        why = await _add_one_failed(call, project, str(name), entry)
        if why is None:
            added.append(str(name))
        else:
            errors[str(name)] = {"error": why}
    return {"files_added": added, "message": errors}


@get("/files/list")
async def list_folder(call: NamedDependency[Call]) -> Json:
    """Return what one folder holds."""
    async with call.reading(Action.LIST_FILES) as asked:
        options = call.options()
        project = await asked.project()
        gate.require_listable(project, asked.caller.member)
        if not project.file_count:
            return {
                "num_items": 0,
                "message": f"The project {project.public_id} is empty.",
            }
        subpath = options.get("subpath")
        folder = subpath if isinstance(subpath, str) else None
        entries = await listing.folder(asked.work, project, folder)
    sized = as_flag(options.get("show_size"), default=False)
    return {"files_folders": [_entry(one, sized=sized) for one in entries]}


@get("/file/info")
async def some_facts(call: NamedDependency[Call]) -> Json:
    """Return what is needed to fetch the files and folders asked for."""
    async with call.reading(Action.DOWNLOAD) as asked:
        wanted = list(dict.fromkeys(call.names("files")))
        project = await _downloadable(asked)
        if not wanted:
            raise InvalidInput("No items were requested.")
        found = await listing.named(asked.work, project, wanted)
        known = {facts.name for facts in found}
        rest = [name for name in wanted if name not in known]
        folders = {
            name: await listing.below(asked.work, project, name)
            for name in await listing.those_with_files(asked.work, project, rest)
        }
    link = await grants.download_links(call.services, asked.caller.member, project)
    return {
        "files": _with_links(found, link),
        "folder_contents": {name: _with_links(held, link) for name, held in folders.items()},
        "not_found": {},
    }


@get("/file/all/info")
async def all_facts(call: NamedDependency[Call]) -> Stream:
    """Return what is needed to fetch every file: streamed, however many there are."""
    async with call.reading(Action.DOWNLOAD) as asked:
        project = await _downloadable(asked)
    link = await grants.download_links(call.services, asked.caller.member, project)
    batches = listing.everything(call.services, asked.caller.member, project.id)
    # Begun before the answer is: what fails here still has a status to fail with.
    first: list[FileFacts] = await anext(batches, [])
    return Stream(_stream(first, batches, link), media_type=MediaType.JSON)


@put("/file/update")
async def note_download(call: NamedDependency[Call]) -> Json:
    """Note that a file was fetched."""
    async with call.changing(Action.DOWNLOAD) as asked:
        body = call.json_object()
        project = await asked.project()
        name = body.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidInput("No file name specified. Cannot update file.")
        await downloads.note(asked.work, project, name)
    return {"message": "File info updated."}


async def _downloadable(asked: Asked) -> Project:
    project = await asked.project()
    gate.require_downloadable(project, asked.caller.member)
    if not project.file_count:
        raise InvalidInput("The project is empty.")
    return project


async def _stream(
    first: list[FileFacts], more: AsyncIterator[list[FileFacts]], link: Callable[[str], str]
) -> AsyncIterator[bytes]:
    yield b'{"files":{' + _entries(first, link)
    async for batch in more:
        yield b"," + _entries(batch, link)
    yield b"}}"


def _entries(batch: list[FileFacts], link: Callable[[str], str]) -> bytes:
    """Return the inside of a JSON object: each file's facts under its name."""
    return _ENCODE(_with_links(batch, link))[1:-1]


async def _add_one_failed(call: Call, project: Project, name: str, entry: object) -> str | None:
    """Register one file of the client's log of failures; return why not."""
    try:
        file = _from_failure(name, entry)
        stored = await grants.sizes_in_store(call.services, project, [file.name_in_bucket])
        if stored[file.name_in_bucket] is None:
            return "File not found in S3"
        if stored[file.name_in_bucket] != file.size_stored:
            return "The object in S3 has another size than the file."
        async with call.changing(Action.UPLOAD) as asked:
            # An overwrite has replaced the object already: its old facts would not decrypt it.
            overwrites = isinstance(entry, dict) and entry.get("overwrite") is True
            register = registration.replace if overwrites else registration.add
            await register(asked.work, await asked.project(), file)
    except AlreadyExists:
        return "File already in database."
    except Unavailable:
        raise
    except DdsError as no:
        return no.message
    return None


def _from_failure(name: str, entry: object) -> NewFile:
    """Read an entry of the log; there ``compressed`` says that the file was compressed *before* the client."""
    if not isinstance(entry, dict):
        raise InvalidInput("The entry must be an object.")
    progress = entry.get("status")
    if not isinstance(progress, dict) or progress.get("failed_op") != "add_file_db":
        raise InvalidInput("Incorrect 'failed_op'.")
    return _new_file(
        {
            "name": name,
            "name_in_bucket": entry.get("path_remote"),
            "subpath": entry.get("subpath"),
            "size": entry.get("size_raw"),
            "size_processed": entry.get("size_processed"),
            "compressed": not entry.get("compressed"),
            "salt": entry.get("salt"),
            "public_key": entry.get("public_key"),
            "checksum": entry.get("checksum"),
        }
    )


def _new_file(body: Json) -> NewFile:
    for field, complaint in _REQUIRED.items():
        if body.get(field) is None:
            raise MissingField(field, complaint)
    wrong = {field: why for field, why in _complaints(body) if why}
    if wrong:
        raise InvalidFields(wrong)
    return NewFile(
        name=body["name"],
        name_in_bucket=body["name_in_bucket"],
        size_original=int(body["size"]),
        size_stored=int(body["size_processed"]),
        compressed=_flag(body["compressed"]) is True,
        salt=body["salt"],
        public_key=body["public_key"],
        checksum=body["checksum"].lower(),
    )


def _complaints(body: Json) -> list[tuple[str, list[str]]]:
    return [
        ("name", _text(body["name"], names.check_name)),
        ("name_in_bucket", _text(body["name_in_bucket"], names.check_key)),
        ("subpath", _subpath(body["subpath"], body["name"])),
        ("size", _size(body["size"])),
        ("size_processed", _size(body["size_processed"])),
        ("compressed", [] if _flag(body["compressed"]) is not None else ["Not a valid boolean."]),
        ("salt", _hex(body["salt"], 32)),
        ("public_key", _hex(body["public_key"], 64)),
        ("checksum", _hex(body["checksum"], 64)),
    ]


def _text(value: object, check: Callable[[str], list[str]]) -> list[str]:
    return check(value) if isinstance(value, str) else ["Not a valid string."]


def _subpath(value: object, name: object) -> list[str]:
    if not isinstance(value, str):
        return ["Not a valid string."]
    if not value:
        return ["Shorter than minimum length 1."]
    if isinstance(name, str) and names.normal_folder(value) != names.folder_of(name):
        return ["The subpath is not the folder of the file's name."]
    return []


def _size(value: object) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ["Not a valid integer."]
    text = str(value)
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        return ["Not a valid integer."]
    return [] if 0 <= int(text) <= _LARGEST else [f"Must be between 0 and {_LARGEST}."]


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _hex(value: object, length: int) -> list[str]:
    if not isinstance(value, str):
        return ["Not a valid string."]
    if len(value) != length:
        return [f"Length must be {length}."]
    return [] if _HEX.fullmatch(value) else ["Not a valid hexadecimal number."]


def _entry(one: listing.Entry, *, sized: bool) -> Json:
    told: Json = {"name": one.name, "folder": one.is_folder}
    if sized:
        told["size"] = float(one.bytes_original)
    return told


def _with_links(found: list[FileFacts], link: Callable[[str], str]) -> dict[str, Any]:
    return {facts.name: _facts(facts, link) for facts in found}


def _facts(facts: FileFacts, link: Callable[[str], str]) -> Json:
    return {
        "name_in_bucket": facts.name_in_bucket,
        "subpath": names.folder_of(facts.name),
        "size_original": facts.size_original,
        "size_stored": facts.size_stored,
        "salt": facts.salt,
        "public_key": facts.public_key,
        "checksum": facts.checksum,
        "compressed": facts.compressed,
        "url": link(facts.name_in_bucket),
    }


ROUTES: list[HTTPRouteHandler] = [
    upload_keys,
    match,
    new,
    replace,
    add_failed,
    list_folder,
    some_facts,
    all_facts,
    note_download,
]
