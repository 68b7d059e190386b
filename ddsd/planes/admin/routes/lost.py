"""Where store and database disagree, and what an operator does about it."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from ddsd.access import Operator
from ddsd.contract import admin as wire
from ddsd.files import failures, lost, reconciliation
from ddsd.files.tables import FindingKind
from ddsd.planes.admin import present
from ddsd.projects.gate import require_in_progress
from ddsd.work import Services, reading, transaction


@get("/lost")
async def list_findings(
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
    project: FromQuery[str | None] = None,
    of_kind: FromQuery[FindingKind | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100_000)] = 1000,
) -> list[wire.Finding]:
    """List what the last comparison found, of one project or all."""
    async with reading(services, operator) as work:
        if project is not None:
            await reconciliation.require_project(work, project)
        found = await reconciliation.listing(work, project, of_kind, limit)
    return [present.finding(one) for one in found]


@post("/lost/compare")
async def compare(
    data: JSONBody[wire.Compare],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Job:
    """Begin to compare store and database, of one project or all."""
    async with transaction(services, operator) as work:
        return present.job(await reconciliation.begin(work, data.project))


@post("/lost/clean", status_code=HTTP_200_OK)
async def clean(
    data: JSONBody[wire.CleanLost],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.Cleaned:
    """Remove what the next findings are about."""
    done = await lost.clean(services, operator, data.project, data.after)
    return wire.Cleaned(
        removed=done.removed,
        passed=done.passed,
        stayed=done.stayed,
        last=done.last,
        more=done.more,
    )


@post("/lost/buckets", status_code=HTTP_200_OK)
async def make_buckets(
    data: JSONBody[wire.MakeBuckets],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.BucketsMade:
    """Make missing buckets."""
    made = await lost.make_buckets(services, operator, data.project, dry_run=data.dry_run)
    return wire.BucketsMade(projects=made)


@delete("/lost/buckets/{bucket:str}", status_code=HTTP_200_OK)
async def remove_bucket(
    bucket: FromPath[str],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.BucketEmptied:
    """Remove some of a bucket that no project has, and the bucket in the end."""
    removed = await lost.remove_bucket_of_nobody(services, operator, bucket)
    return wire.BucketEmptied(objects=removed)


@post("/projects/{public_id:str}/import-log", status_code=HTTP_200_OK)
async def import_log(
    public_id: FromPath[str],
    data: JSONBody[wire.ImportLog],
    services: NamedDependency[Services],
    operator: NamedDependency[Operator],
) -> wire.LogImported:
    """Register files of the stock client's log of failed uploads."""
    async with reading(services, operator) as work:
        project = await reconciliation.require_project(work, public_id)
        require_in_progress(project)
    refused = await failures.add(services, operator, project, data.log, dry_run=data.dry_run)
    return wire.LogImported(added=[one for one in data.log if one not in refused], refused=refused)
