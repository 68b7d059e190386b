"""The stock wire: files, and the grants with which their bytes travel (wire contract, section 4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec
from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from ddsd.access import Action
from ddsd.errors import InvalidInput
from ddsd.files import (
    description,
    downloads,
    failures,
    grants,
    listing,
    names,
    registration,
)
from ddsd.files.listing import FileFacts
from ddsd.files.registration import Upload
from ddsd.planes.v1.call import Asked, Call, as_flag
from ddsd.planes.v1.wire import Json
from ddsd.projects import busy, gate, quota
from ddsd.projects.tables import Project

_ENCODE: Final = msgspec.json.Encoder().encode


@get("/s3/proj")
async def upload_keys(call: NamedDependency[Call]) -> Json:
    """Grant uploads into the project's bucket: a key for that bucket alone, that expires."""
    async with call.reading(Action.UPLOAD) as asked:
        project = await asked.project()
        gate.require_in_progress(project)
        await busy.require_contents_stay(asked.work, project)
        # Said here, before anything is sent: when a file is registered, its bytes have travelled already.
        await quota.require_room(asked.work, project.unit_id, 0)
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
        await busy.require_contents_stay(asked.work, project)
    return {"files": dict(found) or None}


@post("/file/new", status_code=200)
async def new(call: NamedDependency[Call]) -> Json:
    """Register a file that was stored."""

    async def claim(asked: Asked) -> Upload:
        body = call.json_object()
        project = await asked.project()
        gate.require_in_progress(project)
        return Upload(project.id, description.read(body), asked.caller.member)

    upload = await call.registering(claim)
    return {"message": f"File '{upload.new.name}' added to db."}


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
        file = description.read(body)
        await registration.replace(asked.work, project, file)
    return {"message": f"File '{file.name}' updated in db."}


@put("/file/failed/add")
async def add_failed(call: NamedDependency[Call]) -> Json:
    """Register files whose first registration failed, if their objects are there."""
    async with call.reading(Action.UPLOAD) as asked:
        body = call.json_object()
        project = await asked.project()
        gate.require_in_progress(project)
    refused = await failures.add(call.services, asked.caller.member, project, body)
    return {
        "files_added": [name for name in body if name not in refused],
        "message": {name: {"error": why} for name, why in refused.items()},
    }


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
