"""What a demo instance holds when it is new: two units, their people, and projects in different states.

The accounts are those of the original's development set-up. Their password is public: a demo alone may have such.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from sqlalchemy import select

from ddsctl.delivery.container import encrypt, object_key, processed_name
from ddsd.access import Role, System
from ddsd.files import registration
from ddsd.files.names import folder_of
from ddsd.files.registration import NewFile
from ddsd.keys.hierarchy import KdfCost, MasterSplit
from ddsd.lifecycle import transitions
from ddsd.projects import membership, projects
from ddsd.projects.projects import Created, ProjectFields
from ddsd.projects.status import Status
from ddsd.secret import SecretText
from ddsd.units.tables import Unit
from ddsd.users import names, passwords, sessions
from ddsd.users.tables import User, UserEmail
from ddsd.work import Services, Work, reading, transaction

PASSWORD: Final = "password"  # noqa: S105 - public on purpose, and loudly so


@dataclass(frozen=True)
class Person:
    """One of the demo's accounts."""

    username: str
    name: str
    role: Role
    unit: str | None

    @property
    def email(self) -> str:
        """Return their address: on a domain that no mail ever reaches."""
        return f"{self.username}@demo.example"


UNITS: Final[Mapping[str, str]] = {"unit_1": "Sequencing Unit", "unit_2": "Imaging Unit"}
# A unit needs two admins to make a project, and three to make one without a warning.
PEOPLE: Final[Sequence[Person]] = (
    Person("superadmin", "Super Admin", Role.SUPER_ADMIN, None),
    Person("unitadmin_1", "Unit Admin of Sequencing", Role.UNIT_ADMIN, "unit_1"),
    Person("unitadmin_1b", "Second Admin of Sequencing", Role.UNIT_ADMIN, "unit_1"),
    Person("unitadmin_1c", "Third Admin of Sequencing", Role.UNIT_ADMIN, "unit_1"),
    Person("unituser_1", "First Unit User", Role.UNIT_PERSONNEL, "unit_1"),
    Person("unitadmin_2", "Unit Admin of Imaging", Role.UNIT_ADMIN, "unit_2"),
    Person("unitadmin_2b", "Second Admin of Imaging", Role.UNIT_ADMIN, "unit_2"),
    Person("unitadmin_2c", "Third Admin of Imaging", Role.UNIT_ADMIN, "unit_2"),
    Person("unituser_2", "Second Unit User", Role.UNIT_PERSONNEL, "unit_2"),
    Person("researchuser_1", "First Research User", Role.RESEARCHER, None),
    Person("researchuser_2", "Second Research User", Role.RESEARCHER, None),
)


@dataclass(frozen=True)
class Sample:
    """One of the demo's projects: whose, for whom, with which files, and how far it has come."""

    unit_user: str
    title: str
    researchers: Sequence[str]
    files: Mapping[str, bytes]
    status: Status


SAMPLES: Final[Sequence[Sample]] = (
    Sample(
        "unituser_1",
        "Soil metagenomes (in preparation)",
        ("researchuser_1",),
        {
            "run1/reads.fastq": b"@read1\nACGTACGT\n+\nIIIIIIII\n" * 200,
            "README.txt": b"Half done.\n",
        },
        Status.IN_PROGRESS,
    ),
    Sample(
        "unituser_1",
        "Yeast RNA (ready to download)",
        ("researchuser_1", "researchuser_2"),
        {"counts.csv": b"gene,count\nADH1,42\n", "qc/report.txt": b"All good.\n" * 50},
        Status.AVAILABLE,
    ),
    Sample(
        "unituser_2",
        "Zebrafish images (expired)",
        ("researchuser_2",),
        {"plate 1/wells.csv": b"well,cells\nA1,120\n"},
        Status.EXPIRED,
    ),
    Sample("unituser_2", "Cell atlas (new and empty)", ("researchuser_2",), {}, Status.IN_PROGRESS),
)


async def make_accounts(services: Services) -> bool:
    """Make units and accounts unless they are there; return whether they had to be made."""
    async with reading(services, System()) as work:
        if await _find(work, PEOPLE[0].username) is not None:
            return False
    split, salt, cost = await passwords.derive_new(services, SecretText(PASSWORD))
    async with transaction(services, System()) as work:
        units = {public_id: _unit(work, public_id, name) for public_id, name in UNITS.items()}
        await work.session.flush()
        for person in PEOPLE:
            unit = units[person.unit] if person.unit else None
            await add_person(work, person, unit, (split, salt, cost))
    return True


async def add_person(
    work: Work, person: Person, unit: Unit | None, derived: tuple[MasterSplit, bytes, KdfCost]
) -> None:
    """Add an account whose password is known already; ``derived``: what came of that."""
    user = User(
        uid=f"demo-{person.username}"[:32],
        username=person.username,
        username_folded=names.fold(person.username),
        name=person.name,
        role=person.role,
        unit_id=unit.id if unit else None,
        created_at=work.now,
    )
    passwords.set_first(work, user, *derived)
    work.session.add(user)
    await work.session.flush()
    work.session.add(UserEmail(user_id=user.id, email=person.email, is_primary=True))


async def make_projects(services: Services) -> list[str]:
    """Make the sample projects, with real encrypted objects in the store; return their public ids."""
    return [await _make(services, sample) for sample in SAMPLES]


async def _make(services: Services, sample: Sample) -> str:
    async with transaction(services, System()) as work:
        user = await work.session.scalar(
            select(User).where(User.columns().username == sample.unit_user)
        )
        if user is None:
            raise LookupError(sample.unit_user)
        work = Work(work.session, work.now, sessions.member_of(user, 0), services)
        made = await projects.create(
            work,
            ProjectFields(
                sample.title, f"A sample of the demo: {sample.title}", "pi@demo.example", False
            ),
        )
        for name in sample.researchers:
            researcher = await _find(work, name)
            if researcher is not None:
                await membership.add(work, made.project, made.pair.private, researcher, owner=False)
        objects = [await _register(work, made, name, body) for name, body in sample.files.items()]
        await work.session.refresh(made.project)
        await _advance(work, made, sample.status)
    await services.store.ensure_bucket(made.project.bucket)
    for key, stored in objects:
        await services.store.put(made.project.bucket, key, stored)
    return made.project.public_id


async def _register(work: Work, made: Created, name: str, body: bytes) -> tuple[str, bytes]:
    """Register one file; return its key and what belongs under it."""
    sink = io.BytesIO()
    public = X25519PublicKey.from_public_bytes(made.pair.public)
    facts = encrypt(io.BytesIO(body), sink, project_public=public, compress=True)
    folder, leaf = folder_of(name), name.rpartition("/")[2]
    key = object_key(folder, processed_name(leaf, compressed=True))
    await registration.add(
        work,
        made.project,
        NewFile(
            name=name,
            name_in_bucket=key,
            size_original=facts.size_original,
            size_stored=facts.size_stored,
            compressed=facts.compressed,
            salt=facts.salt_hex,
            public_key=facts.public_key_hex,
            checksum=facts.checksum_hex,
        ),
    )
    return key, sink.getvalue()


async def _advance(work: Work, made: Created, status: Status) -> None:
    if status is Status.IN_PROGRESS:
        return
    await transitions.release(work, made.project, days=30, send_email=True)
    if status is Status.EXPIRED:
        await transitions.expire(work, made.project, days=30)


async def _find(work: Work, username: str) -> User | None:
    found: User | None = await work.session.scalar(
        select(User).where(User.columns().username == username)
    )
    return found


def _unit(work: Work, public_id: str, name: str) -> Unit:
    unit = Unit(
        public_id=public_id,
        name=name,
        external_display_name=f"{name} of the Demo Facility",
        contact_email=f"{public_id}@demo.example",
        internal_ref=public_id.replace("_", ""),
        quota_bytes=10**12,
        created_at=work.now,
    )
    work.session.add(unit)
    return unit
