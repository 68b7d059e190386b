"""What is told of a project beside the daemon's own words: what an end takes away, and which way leads on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsd.contract import sizes
from ddsd.contract.words import ProjectVerb

if TYPE_CHECKING:
    from ddsd.contract.admin import ProjectDetails

_RECEIVE: Final = frozenset({"project owner", "researcher"})
_NEED_AVAILABLE: Final = frozenset(
    {ProjectVerb.EXTEND, ProjectVerb.EXPIRE, ProjectVerb.RETRACT, ProjectVerb.RESTORE}
)


def contents(one: ProjectDetails) -> str:
    """Say how much a project has, and how many of those it is for have not fetched all of it."""
    project = one.project
    readers = [person for person in one.people if person.capacity in _RECEIVE]
    lack = sum(person.files_fetched < project.file_count for person in readers)
    return (
        f"It has {project.file_count} files, {sizes.show(project.bytes_stored)}; "
        f"{lack} of {len(readers)} researchers have not downloaded all of it."
    )


def after_refusal(one: ProjectDetails, verb: ProjectVerb) -> str:
    """Say which command leads on where ``verb`` was refused; empty: none is known."""
    public_id = one.project.public_id
    release = f"ddsctl project release {public_id} --dry-run"
    match one.project.status:
        case "Expired" if verb in _NEED_AVAILABLE and one.releases_left:
            left = f"expired so far: {one.times_expired}; releases left: {one.releases_left}"
            return f"To make it available again: {release} ({left})."
        case "In Progress" if verb in _NEED_AVAILABLE:
            return f"To make it available: {release}"
        case "Archived" if one.project.purge_after and verb is not ProjectVerb.RESTORE:
            return f"Its deadline has archived it, and its data is still kept: ddsctl project restore {public_id}"
        case _:
            return ""
