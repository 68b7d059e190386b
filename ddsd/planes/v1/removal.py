"""The stock wire: removal of files, folders and all contents (wire contract, sections 4 and 6)."""

from __future__ import annotations

from typing import Final

from litestar import delete
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from ddsd.access import Action
from ddsd.errors import InvalidInput
from ddsd.files import removal
from ddsd.planes.v1.call import Call
from ddsd.planes.v1.wire import Json
from ddsd.projects.gate import require_removable


@delete("/file/rm", status_code=200)
async def remove_files(call: NamedDependency[Call]) -> Json:
    """Remove files."""
    async with call.reading(Action.UPLOAD) as asked:
        names = call.names("files")
        project = await asked.project()
        require_removable(project)
    outcome = await removal.remove_files(call.services, asked.caller.member, project, names)
    return {"not_removed": outcome.not_removed, "not_exists": outcome.not_exists}


@delete("/file/rmdir", status_code=200)
async def remove_folders(call: NamedDependency[Call]) -> Json:
    """Remove folders and all that is in them."""
    async with call.reading(Action.UPLOAD) as asked:
        folders = call.names("folders")
        project = await asked.project()
        require_removable(project)
        if not folders:
            raise InvalidInput("No folders specified.")
    outcome = await removal.remove_folders(call.services, asked.caller.member, project, folders)
    return {
        "not_removed": outcome.not_removed,
        "not_exists": outcome.not_exists,
        "fail_type": "s3" if outcome.not_removed else None,
        "nr_deleted": outcome.removed,
    }


@delete("/proj/rm", status_code=200)
async def remove_contents(call: NamedDependency[Call]) -> Json:
    """Begin to remove all that the project has."""
    async with call.changing(Action.UPLOAD) as asked:
        project = await asked.project(for_change=True)
        await removal.begin_emptying(asked.work, project)
    return {
        "removed": True,
        "message": "Data deletion has started. This might take some time. "
        "The DDS is handling this in the background.",
    }


ROUTES: Final[list[HTTPRouteHandler]] = [remove_files, remove_folders, remove_contents]
