"""Keys follow people: whatever is done, exactly the holders a model says open exactly the projects it says.

The model knows names only. What it says is tried with keys: passwords, invites' links and kits' words are opened down
to each project's private key. In the end every key there ever was is tried on every wrap there is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import ColumnElement, select

from ddsd.access import Member, Operator, Role, System
from ddsd.db.engine import Database
from ddsd.errors import AlreadyExists, DdsError, Forbidden, SealBroken
from ddsd.keys import kits
from ddsd.keys.hierarchy import MasterSplit, open_from_link, open_user_key, unwrap_project_key
from ddsd.keys.tables import KeyWrap
from ddsd.keys.unlocked import Unlocked
from ddsd.mail import outbox
from ddsd.projects import invitations, membership, projects, recovery, repair
from ddsd.projects.invitations import Capacity, Request
from ddsd.projects.projects import ProjectFields
from ddsd.projects.tables import Project
from ddsd.secret import SecretBytes, SecretText
from ddsd.units.tables import Unit
from ddsd.users import (
    directory,
    links,
    login,
    password_change,
    password_reset,
    passwords,
    registration,
    removal,
    sessions,
    standing,
)
from ddsd.users.registration import Applicant
from ddsd.users.sessions import Caller, member_of
from ddsd.users.tables import Invite, User
from ddsd.work import Services, Work, reading, transaction
from tests.builders import SettableClock, a_unit, a_user
from tests.keys.holders import Delivery, Holding, Model, Paper, Person, Waiting
from tests.parts.postgres import Cluster
from tests.services import make_services
from tests.thorough import usual

OPERATOR = Operator(0, "operator")
FIELDS = ProjectFields(title="T", description="D", pi="pi@example.org", non_sensitive=False)
CAST: dict[str, tuple[Role, str | None]] = {
    "ada": (Role.UNIT_ADMIN, "unit1"),
    "bob": (Role.UNIT_ADMIN, "unit1"),
    "cyd": (Role.UNIT_PERSONNEL, "unit1"),
    "dee": (Role.UNIT_ADMIN, "unit2"),
    "rae": (Role.RESEARCHER, None),
    "rob": (Role.RESEARCHER, None),
}
NEWCOMERS = ["new1@example.org", "new2@example.org", "new3@example.org"]
MOST_PROJECTS, MOST_INACTIVE = 5, 2

Result = TypeVar("Result")


class Holders(RuleBasedStateMachine):
    """The domain's verbs and the model, side by side."""

    def __init__(self, url: str, state_dir: Path) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = SettableClock()
        self.numbers = itertools.count(1)
        self.model = Model()
        self.splits: dict[bytes, MasterSplit] = {}
        self.dead: list[bytes] = []
        self.database = Database(url)
        self.services: Services = make_services(self.database, self.clock, state_dir)
        self.run(self.populate())

    def teardown(self) -> None:
        try:
            self.run(self.try_every_key_on_every_wrap())
            self.run(self.database.close())
        finally:
            self.runner.close()

    def run(self, what: Awaitable[Result]) -> Result:
        async def done() -> Result:
            return await what

        return self.runner.run(done())

    # Arranging

    async def populate(self) -> None:
        for unit in ("unit1", "unit2"):
            async with transaction(self.services, System()) as work:
                await a_unit(work.session, public_id=unit, name=unit, internal_ref=unit)
        for name, (role, its_unit) in CAST.items():
            person = Person(name, f"{name}@example.org", role, its_unit, self.new_password())
            derived = await passwords.derive_new(self.services, person.password)
            async with transaction(self.services, System()) as work:
                query = select(Unit.columns().id).where(Unit.columns().public_id == its_unit)
                unit_id = (await work.session.execute(query)).scalar_one_or_none()
                user = await a_user(
                    work.session,
                    username=name,
                    name=name.title(),
                    email=person.email,
                    role=role,
                    unit_id=unit_id,
                )
                passwords.set_first(work, user, *derived)
            self.model.people[name] = person

    def new_password(self) -> SecretText:
        return SecretText(f"Wellen-und-Strand-{next(self.numbers)}")

    def address(self) -> str:
        number = next(self.numbers)
        return f"10.0.{number // 256}.{number % 256}"

    async def row(self, person: Person) -> User:
        async with reading(self.services, System()) as work:
            query = select(User).where(User.columns().username == person.name)
            return (await work.session.execute(query)).scalar_one()

    async def split(self, user: User, password: SecretText) -> MasterSplit:
        """Derive what follows from the password, once for each salt: it is what takes the time here."""
        salt = user.kdf_salt or b""
        if salt not in self.splits:
            self.splits[salt] = await self.services.deriver.derive(
                password, salt, self.services.deriver.cost
            )
        return self.splits[salt]

    async def unlock(self, person: Person) -> tuple[Member, Unlocked]:
        user = await self.row(person)
        return member_of(user, 1), login.unlock(user, await self.split(user, person.password))

    async def log_in(self, person: Person) -> Caller:
        user = await self.row(person)
        _, key = await self.unlock(person)
        async with transaction(self.services, System()) as work:
            partial = await sessions.start(work, user, key, self.address())
        async with transaction(self.services, System()) as work:
            token = await sessions.complete(work, await sessions.find(work, partial))
        async with reading(self.services, System()) as work:
            return await sessions.find(work, token)

    async def mailed_link(self, email: str, page: str) -> SecretText:
        async with reading(self.services, System()) as work:
            newest = (await outbox.listing(work, 1, email))[0]
            text = (await outbox.show(work, newest.id)).text
        return SecretText(next(word for word in text.split() if f"/{page}#" in word))

    @contextmanager
    def refused(self, *expected: type[DdsError] | None) -> Iterator[None]:
        """Demand that the block is refused so, if the model says that it is; that it is not, otherwise."""
        kinds = tuple(one for one in expected if one is not None)
        if not kinds:
            yield
            return
        with pytest.raises(kinds):
            yield

    def pick(self, data: st.DataObject, among: Sequence[Any], label: str) -> Any:
        return data.draw(st.sampled_from(list(among)), label=label)

    def acting(self, role: Role | None = None) -> list[Person]:
        """Return unit users who can log in."""
        return [
            one
            for one in self.model.people.values()
            if one.unit and one.active and (role is None or one.role is role)
        ]

    def living(self) -> list[Person]:
        return [one for one in self.model.people.values() if one.active]

    @initialize()
    def begin_with_projects_of_both_units(self) -> None:
        for name in ("ada", "cyd", "dee"):
            self.create(self.model.people[name])

    # Projects and the people in them

    @precondition(lambda self: self.acting() and len(self.model.deliveries) < MOST_PROJECTS)
    @rule(data=st.data())
    def create_a_project(self, data: st.DataObject) -> None:
        self.create(self.pick(data, self.acting(), "maker"))

    def create(self, maker: Person) -> None:
        unit = maker.unit
        assert unit is not None

        async def act() -> Delivery:
            member, _ = await self.unlock(maker)
            async with transaction(self.services, member) as work:
                made = await projects.create(work, FIELDS)
                private = made.pair.private.reveal()
                return Delivery(made.project.id, made.project.public_id, unit, private)

        made = self.run(act())
        made.holders = {one.key for one in self.model.of_unit(unit) if one.active}
        made.holders |= {one.key for one in self.model.waiting.values() if one.unit == unit}
        if unit in self.model.papers:
            made.holders.add(self.model.papers[unit].key)
        self.model.deliveries[made.uid] = made

    @precondition(lambda self: self.acting() and self.model.deliveries)
    @rule(data=st.data())
    def let_a_researcher_in(self, data: st.DataObject) -> None:
        asker = self.pick(data, self.acting(), "asker")
        delivery = self.pick(data, list(self.model.deliveries.values()), "project")
        emails = [one.email for one in self.model.people.values()] + NEWCOMERS
        email = self.pick(data, sorted(set(emails)), "whom")
        person = self.known(email)
        holds = asker.key in delivery.holders
        expected: type[DdsError] | None = None
        if delivery.unit != asker.unit or (person and person.role is not Role.RESEARCHER):
            expected = Forbidden
        elif person and person.key in delivery.members:
            expected = AlreadyExists
        elif person and not holds:
            expected = Forbidden

        async def act() -> object:
            member, key = await self.unlock(asker)
            async with transaction(self.services, member) as work:
                project = await self.locked(work, delivery)
                request = Request(email, Capacity.RESEARCHER)
                return await invitations.let_in(work, key, request, project)

        with self.refused(expected):
            self.run(act())
        if expected:
            return
        if person is None and holds:
            person = self.note_invite(email, Role.RESEARCHER, None)
        if person and holds:
            delivery.members.add(person.key)
            delivery.holders.add(person.key)

    @precondition(lambda self: self.acting(Role.UNIT_ADMIN) and self.newcomers())
    @rule(data=st.data())
    def invite_a_colleague(self, data: st.DataObject) -> None:
        asker = self.pick(data, self.acting(Role.UNIT_ADMIN), "asker")
        email = self.pick(data, self.newcomers(), "whom")
        wanted = self.model.deliveries_of(asker.unit)
        held = [one for one in wanted if asker.key in one.holders]

        async def act() -> None:
            member, key = await self.unlock(asker)
            async with transaction(self.services, member) as work:
                await invitations.let_in(work, key, Request(email, Capacity.UNIT_PERSONNEL), None)

        self.run(act())
        if held or not wanted:
            waiting = self.note_invite(email, Role.UNIT_PERSONNEL, asker.unit)
            for one in held:
                one.holders.add(waiting.key)

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def register(self, data: st.DataObject) -> None:
        waiting = self.pick(data, list(self.model.waiting.values()), "who")
        name = f"person{next(self.numbers)}"
        person = Person(name, waiting.email, waiting.role, waiting.unit, self.new_password())
        applicant = Applicant(name, "New Comer", person.password)
        self.run(
            registration.register(self.services, waiting.link, applicant, address=self.address())
        )
        self.model.people[name] = person
        del self.model.waiting[waiting.email]
        self.model.rename(waiting.key, person.key)

    @precondition(lambda self: self.acting() and any(self.memberships()))
    @rule(data=st.data())
    def take_somebody_out(self, data: st.DataObject) -> None:
        delivery, key = self.pick(data, sorted(self.memberships(), key=str), "membership")
        person = self.by_key(key)
        asker = self.pick(data, self.acting(), "asker")
        expected: type[DdsError] | None = None
        if asker.unit != delivery.unit or (
            isinstance(person, Person) and self.model.is_lost_without(delivery, key)
        ):
            expected = Forbidden

        async def act() -> None:
            member, _ = await self.unlock(asker)
            async with transaction(self.services, member) as work:
                project = await self.locked(work, delivery)
                found = await directory.find(work, person.email, for_change=True)
                assert found is not None
                await membership.remove(work, project, found)

        with self.refused(expected):
            self.run(act())
        if expected:
            return
        delivery.members.remove(key)
        delivery.holders.discard(key)
        if isinstance(person, Waiting) and not any(
            key in one.members for one in self.model.deliveries.values()
        ):
            del self.model.waiting[person.email]
            self.model.forget(key)

    @precondition(lambda self: self.acting() and self.model.deliveries)
    @rule(data=st.data(), everything=st.booleans())
    def repair_access(self, data: st.DataObject, everything: bool) -> None:
        helper = self.pick(data, self.acting(), "helper")
        person = self.pick(data, list(self.model.people.values()), "whom")
        one = self.pick(data, list(self.model.deliveries.values()), "project")
        alien = bool(person.unit) and person.unit != helper.unit
        above = person.role is Role.UNIT_ADMIN and helper.role is Role.UNIT_PERSONNEL
        elsewhere = not everything and one.unit != helper.unit
        expected = Forbidden if person is helper or alien or above or elsewhere else None

        async def act() -> None:
            member, key = await self.unlock(helper)
            async with transaction(self.services, member) as work:
                project = None if everything else await self.locked(work, one)
                user = await work.session.get_one(User, (await self.row(person)).id)
                await repair.fix(work, key, user, project)

        with self.refused(expected):
            self.run(act())
        if expected:
            return
        mended = [one]
        if everything:
            mended = [
                each
                for each in self.model.deliveries_of(helper.unit)
                if person.unit or person.key in each.members
            ]
        for each in mended:
            if helper.key in each.holders and person.key not in each.holders:
                each.holders.add(person.key)
                if person.role is Role.RESEARCHER:
                    each.members.add(person.key)

    # Accounts

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def change_a_password(self, data: st.DataObject) -> None:
        person = self.pick(data, self.living(), "who")
        new = self.new_password()

        async def act() -> None:
            caller = await self.log_in(person)
            await password_change.change(
                self.services, caller, person.password, new, address=self.address()
            )

        self.run(act())
        person.password = new

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def reset_a_password(self, data: st.DataObject) -> None:
        self.reset(self.pick(data, self.living(), "who"))

    @precondition(lambda self: self.acting())
    @rule(data=st.data())
    def reset_all_passwords_of_a_unit_but_one(self, data: st.DataObject) -> None:
        spared = self.pick(data, self.acting(), "spared")
        for one in self.acting():
            if one.unit == spared.unit and one is not spared:
                self.reset(one)

    def reset(self, person: Person) -> None:
        new = self.new_password()
        self.clock.advance(hours=0.5)

        async def act() -> None:
            self.dead.append(await self.private_of(person))
            await password_reset.mail_reset_link(self.services, person.email)
            link = await self.mailed_link(person.email, "reset-password")
            await password_reset.use(self.services, link, new, address=self.address())

        self.run(act())
        person.password = new
        for one in self.model.deliveries.values():
            one.holders.discard(person.key)

    @precondition(lambda self: self.model.people)
    @rule(data=st.data())
    def deactivate_or_activate(self, data: st.DataObject) -> None:
        inactive = [one for one in self.model.people.values() if not one.active]
        several = len(inactive) >= MOST_INACTIVE
        person = self.pick(data, inactive if several else list(self.model.people.values()), "who")

        async def act() -> None:
            async with transaction(self.services, OPERATOR) as work:
                user = await work.session.get_one(User, (await self.row(person)).id)
                switch = standing.deactivate if person.active else standing.activate
                await switch(work, user)

        self.run(act())
        person.active = not person.active

    @precondition(lambda self: len(self.model.people) > 4)
    @rule(data=st.data(), confirmed=st.booleans())
    def delete_an_account(self, data: st.DataObject, confirmed: bool) -> None:
        person = self.pick(data, list(self.model.people.values()), "who")
        last = any(
            self.model.is_lost_without(one, person.key) for one in self.model.deliveries.values()
        )
        expected = Forbidden if last and not confirmed else None

        async def act() -> None:
            private = await self.private_of(person)
            async with transaction(self.services, OPERATOR) as work:
                user = await work.session.get_one(User, (await self.row(person)).id)
                await removal.delete(work, user, confirmed=confirmed)
            self.dead.append(private)

        with self.refused(expected):
            self.run(act())
        if expected is None:
            self.model.forget(person.key)
            del self.model.people[person.name]

    # Recovery kits

    @precondition(lambda self: self.acting(Role.UNIT_ADMIN))
    @rule(data=st.data(), confirmed=st.booleans())
    def make_or_replace_a_kit(self, data: st.DataObject, confirmed: bool) -> None:
        admin = self.pick(data, self.acting(Role.UNIT_ADMIN), "admin")
        old = self.model.papers.get(admin.unit)
        theirs = [one for one in self.model.deliveries_of(admin.unit) if admin.key in one.holders]
        last = old is not None and any(
            self.model.is_lost_without(one, old.key)
            for one in self.model.deliveries_of(admin.unit)
            if one not in theirs
        )
        expected = Forbidden if last and not confirmed else None

        async def act() -> recovery.NewKit:
            member, key = await self.unlock(admin)
            async with transaction(self.services, member) as work:
                if old is None:
                    return await recovery.make(work, key)
                return await recovery.rotate(work, key, confirmed=confirmed)

        with self.refused(expected):
            made = self.run(act())
        if expected:
            return
        if old is not None:
            self.bury(old)
        paper = Paper(admin.unit, made.words, next(self.numbers))
        self.model.papers[admin.unit] = paper
        for one in theirs:
            one.holders.add(paper.key)
        assert made.view.covered == len(theirs)

    @precondition(lambda self: any(self.keepers()))
    @rule(data=st.data(), confirmed=st.booleans())
    def revoke_a_kit(self, data: st.DataObject, confirmed: bool) -> None:
        admin = self.pick(data, self.keepers(), "admin")
        paper = self.model.papers[admin.unit]
        last = any(
            self.model.is_lost_without(one, paper.key) for one in self.model.deliveries.values()
        )
        expected = Forbidden if last and not confirmed else None

        async def act() -> None:
            member, _ = await self.unlock(admin)
            async with transaction(self.services, member) as work:
                await recovery.revoke(work, confirmed=confirmed)

        with self.refused(expected):
            self.run(act())
        if expected is None:
            self.bury(paper)
            del self.model.papers[admin.unit]

    @precondition(lambda self: any(self.keepers()))
    @rule(data=st.data())
    def complete_a_kit(self, data: st.DataObject) -> None:
        admin = self.pick(data, self.keepers(), "admin")
        paper = self.model.papers[admin.unit]

        async def act() -> None:
            member, key = await self.unlock(admin)
            async with transaction(self.services, member) as work:
                await recovery.complete(work, key)

        self.run(act())
        for one in self.model.deliveries_of(admin.unit):
            if admin.key in one.holders:
                one.holders.add(paper.key)

    @precondition(lambda self: any(self.keepers()))
    @rule(data=st.data(), everyone=st.booleans())
    def recover_with_a_kit(self, data: st.DataObject, everyone: bool) -> None:
        admin = self.pick(data, self.keepers(), "admin")
        paper = self.model.papers[admin.unit]

        async def act() -> None:
            member, _ = await self.unlock(admin)
            async with transaction(self.services, member) as work:
                await recovery.restore(work, paper.words, everyone=everyone)

        self.run(act())
        people = [one for one in self.model.of_unit(admin.unit) if one.active]
        for one in self.model.held_by(paper.key):
            one.holders |= {each.key for each in (people if everyone else [admin])}

    # What is so

    @invariant()
    def everybody_opens_exactly_what_the_model_says(self) -> None:
        for key, opened in self.run(self.what_everybody_opens()).items():
            expected = {one.uid: one.private for one in self.model.held_by(key)}
            assert opened == expected, key

    async def what_everybody_opens(self) -> dict[Holding, dict[str, bytes]]:
        """Open what can be opened as the service would: each holder's own wraps, with their own key."""
        secrets = await self.secrets()
        opened: dict[Holding, dict[str, bytes]] = {key: {} for key in secrets}
        async with reading(self.services, System()) as work:
            users = await self.names(work, User.columns().id, User.columns().username)
            asked = await self.names(work, Invite.columns().id, Invite.columns().email)
            wraps = (await work.session.execute(select(KeyWrap))).scalars().all()
        uids = {one.number: one.uid for one in self.model.deliveries.values()}
        for wrap in wraps:
            if wrap.user_id is not None:
                holder = ("user", users[wrap.user_id])
            elif wrap.invite_id is not None:
                holder = ("invite", asked[wrap.invite_id])
            else:
                unit = self.model.deliveries[uids[wrap.project_id]].unit
                holder = self.model.papers[unit].key
            private = SecretBytes(secrets[holder])
            uid = uids[wrap.project_id]
            opened[holder][uid] = unwrap_project_key(
                wrap.blob, holder_private=private, project=uid
            ).reveal()
        return opened

    async def names(
        self, work: Work, number: ColumnElement[int], name: ColumnElement[str]
    ) -> dict[int, str]:
        found = await work.session.execute(select(number, name))
        return {int(key): str(text) for key, text in found}

    async def secrets(self) -> dict[Holding, bytes]:
        """Return every living holder's private key, opened with what the person has."""
        found = {one.key: await self.private_of(one) for one in self.model.people.values()}
        async with reading(self.services, System()) as work:
            for waiting in self.model.waiting.values():
                query = select(Invite).where(Invite.columns().email == waiting.email)
                invite = (await work.session.execute(query)).scalar_one()
                found[waiting.key] = open_from_link(
                    invite.sealed_private_key,
                    secret=links.secret_of(waiting.link),
                    owner=invite.uid,
                ).reveal()
        for paper in self.model.papers.values():
            found[paper.key] = self.private_of_paper(paper)
        return found

    async def private_of(self, person: Person) -> bytes:
        user = await self.row(person)
        kek = (await self.split(user, person.password)).kek
        return open_user_key(user.wrapped_private_key or b"", kek=kek, owner=user.uid).reveal()

    async def try_every_key_on_every_wrap(self) -> None:
        secrets = await self.secrets()
        async with reading(self.services, System()) as work:
            wraps = (await work.session.execute(select(KeyWrap))).scalars().all()
        uids = {one.number: one.uid for one in self.model.deliveries.values()}
        for key, private in [*secrets.items(), *((("dead", ""), one) for one in self.dead)]:
            opened = {
                uids[wrap.project_id]
                for wrap in wraps
                if _opens(wrap.blob, private, uids[wrap.project_id])
            }
            assert opened == {one.uid for one in self.model.held_by(key)}, key

    # Words for the rules above

    def private_of_paper(self, paper: Paper) -> bytes:
        return kits.open_kit(paper.words)._pair.private.reveal()

    def bury(self, paper: Paper) -> None:
        self.dead.append(self.private_of_paper(paper))
        self.model.forget(paper.key)

    def keepers(self) -> list[Person]:
        return [one for one in self.acting(Role.UNIT_ADMIN) if one.unit in self.model.papers]

    def newcomers(self) -> list[str]:
        return [email for email in NEWCOMERS if self.known(email) is None]

    def known(self, email: str) -> Person | Waiting | None:
        people = (one for one in self.model.people.values() if one.email == email)
        return next(people, None) or self.model.waiting.get(email)

    def by_key(self, key: Holding) -> Person | Waiting:
        kind, name = key
        return self.model.people[name] if kind == "user" else self.model.waiting[name]

    def memberships(self) -> list[tuple[Delivery, Holding]]:
        return [(one, key) for one in self.model.deliveries.values() for key in sorted(one.members)]

    def note_invite(self, email: str, role: Role, unit: str | None) -> Waiting:
        link = self.run(self.mailed_link(email, "register"))
        self.model.waiting[email] = Waiting(email, role, unit, link)
        return self.model.waiting[email]

    async def locked(self, work: Work, delivery: Delivery) -> Project:
        return await work.session.get_one(Project, delivery.number, with_for_update=True)


def _opens(blob: bytes, private: bytes, project: str) -> bool:
    try:
        unwrap_project_key(blob, holder_private=SecretBytes(private), project=project)
    except SealBroken:
        return False
    return True


@pytest.fixture
def fresh_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], str]]:
    """A maker of migrated databases."""
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        numbers = itertools.count()

        def copied() -> str:
            path = tmp_path / f"{next(numbers)}.sqlite3"
            copyfile(template, path)
            return f"sqlite:///{path}"

        yield copied
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    name: str = request.getfixturevalue("postgres_template")
    made: list[str] = []

    def created() -> str:
        made.append(cluster.create_database(template=name))
        return made[-1]

    yield created
    for url in made:
        cluster.drop_database(url)


@pytest.mark.slow
def test_exactly_the_holders_of_the_model_open_exactly_its_projects(
    kind: str, fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    walk = settings(
        max_examples=usual(6, 20) if kind == "sqlite" else usual(2, 6),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with ThreadPoolExecutor(1) as thread:  # it runs a loop of its own for each walk
        machine: Any = lambda: Holders(fresh_database(), tmp_path)  # noqa: E731 - Hypothesis' type is too narrow
        thread.submit(run_state_machine_as_test, machine, settings=walk).result()
