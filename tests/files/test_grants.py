"""Which keys at the store are kept, and for which store they are good."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from ddsd.access import System
from ddsd.files import grants
from ddsd.files.tables import StoreKey
from ddsd.projects.tables import Project
from ddsd.secret import SecretText
from ddsd.settings import Settings
from ddsd.storage.memory import MemoryStore
from ddsd.storage.port import May, ScopedKey
from ddsd.work import Services, reading
from tests.builders import SettableClock, a_project, a_unit
from tests.services import make_services

WIDE = ScopedKey("THE-OPERATORS-KEY", SecretText("secret"), May.EVERYTHING)
READ_ONLY = ScopedKey("THE-OPERATORS-READ-KEY", SecretText("secret"), May.DOWNLOAD)


class StoreWithoutNarrowKeys(MemoryStore):
    """An S3 store that can make no keys: the operator's own are all there is."""

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        return WIDE

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        return READ_ONLY


def s3_settings(endpoint: str) -> Settings:
    return Settings.model_validate(
        {
            "store": {
                "kind": "s3",
                "endpoint": endpoint,
                "access_key": WIDE.access_key,
                "read_only_access_key": READ_ONLY.access_key,
            }
        }
    )


async def two_projects(services: Services) -> list[Project]:
    async with services.database.writing() as session:
        unit = await a_unit(session)
        return [await a_project(session, unit), await a_project(session, unit)]


async def kept(services: Services) -> list[str]:
    async with reading(services, System()) as work:
        return list(await work.session.scalars(select(StoreKey.columns().access_key)))


async def test_the_operators_own_keys_serve_every_project_and_are_not_kept(
    services: Services, clock: SettableClock
) -> None:
    services = make_services(
        services.database,
        clock,
        services.settings.instance.state_dir,
        store=StoreWithoutNarrowKeys(clock=clock),
        settings=s3_settings("http://store.example"),
    )
    for project in await two_projects(services):
        granted = await grants.grant_upload(services, System(), project)
        assert granted.access_key == WIDE.access_key
        link = await grants.download_links(services, System(), project)
        assert link("some-object")
    assert await kept(services) == []


async def test_keys_of_another_store_are_not_used(services: Services, clock: SettableClock) -> None:
    project, _ = await two_projects(services)
    here = await grants.grant_upload(services, System(), project)
    again = await grants.grant_upload(services, System(), project)
    elsewhere = make_services(
        services.database,
        clock,
        services.settings.instance.state_dir,
        store=services.store,
        instance_key=services.instance_key,
        settings=s3_settings("http://another.example"),
    )
    there = await grants.grant_upload(elsewhere, System(), project)
    assert again.access_key == here.access_key
    assert there.access_key != here.access_key
