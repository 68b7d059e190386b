"""The stock client's log of uploads that were stored and not registered: ``dds_failed_delivery.json``.

It is an object with an entry per file name (wire contract, section 4, ``file/failed/add``). Its ``compressed`` says
that the file was compressed *before* the client.
"""

from __future__ import annotations

from collections.abc import Mapping

from ddsd.access import Action, Actor, Member, Operator, require
from ddsd.audit import trail
from ddsd.errors import AlreadyExists, DdsError, InvalidInput, Unavailable
from ddsd.files import description, grants, registration
from ddsd.files.registration import NewFile, Upload
from ddsd.projects import quota
from ddsd.projects.tables import Project
from ddsd.work import Services, Work, transaction


async def add(
    services: Services,
    actor: Member | Operator,
    project: Project,
    log: Mapping[str, object],
    *,
    dry_run: bool = False,
) -> dict[str, str]:
    """Register files of a log whose objects are in the store; return why the others were not, by name.

    Each is a transaction of its own. That the project is the actor's is checked by the caller.

    Args:
        services: the store and the database.
        actor: who asks.
        project: the project, In Progress.
        log: the entries by file name.
        dry_run: only look whether entry and object fit; whether the name is free is not looked at.

    Raises:
        Forbidden: the actor may not.
        Unavailable: the store or the database is away; what was registered by then stays.
    """
    require(actor, Action.OPERATE if isinstance(actor, Operator) else Action.UPLOAD)
    refused: dict[str, str] = {}
    for name, entry in log.items():
        why = await _add_one(services, actor, project, name, entry, dry_run=dry_run)
        if why is not None:
            refused[name] = why
    return refused


async def _add_one(
    services: Services,
    actor: Actor,
    project: Project,
    name: str,
    entry: object,
    *,
    dry_run: bool,
) -> str | None:
    """Register one file; return why not."""
    try:
        file = _read(name, entry)
        stored = await grants.sizes_in_store(services, project, [file.name_in_bucket])
        if stored[file.name_in_bucket] is None:
            return "File not found in S3"
        if stored[file.name_in_bucket] != file.size_stored:
            return "The object in S3 has another size than the file."
        if not dry_run:
            # An overwrite has replaced the object already: its old facts would not decrypt it.
            overwrites = isinstance(entry, dict) and entry.get("overwrite") is True
            async with transaction(services, actor) as work:
                await _register(work, project.id, file, overwrites=overwrites)
    except AlreadyExists:
        return "File already in database."
    except Unavailable:
        raise
    except DdsError as no:
        return no.message
    return None


async def _register(work: Work, project_id: int, file: NewFile, *, overwrites: bool) -> None:
    upload = Upload(project_id, file, work.actor if isinstance(work.actor, Member) else None)
    project = await work.session.get_one(Project, project_id)
    if overwrites:
        await registration.replace_as(work, upload)
    else:
        await quota.hold(work, [project.unit_id])
        [refusal] = await registration.add_all(work, project_id, [upload])
        if refusal is not None:
            raise refusal
    if isinstance(work.actor, Operator):
        trail.record(work, "file.register", project.public_id, file=file.name)


def _read(name: str, entry: object) -> NewFile:
    """Read an entry of the log; there ``compressed`` says that the file was compressed *before* the client."""
    if not isinstance(entry, dict):
        raise InvalidInput("The entry must be an object.")
    progress = entry.get("status")
    if not isinstance(progress, dict) or progress.get("failed_op") != "add_file_db":
        raise InvalidInput("Incorrect 'failed_op'.")
    return description.read(
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
