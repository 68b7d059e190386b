"""The model of who holds which key: names only. :mod:`tests.keys.test_holders_model` tries it against the keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from ddsd.access import Role
from ddsd.secret import SecretText

Holding = tuple[str, str]


@dataclass
class Person:
    """Somebody with an account."""

    name: str
    email: str
    role: Role
    unit: str | None
    password: SecretText
    active: bool = True

    @property
    def key(self) -> Holding:
        return ("user", self.name)


@dataclass
class Waiting:
    """Somebody who is invited; ``link`` is what was mailed."""

    email: str
    role: Role
    unit: str | None
    link: SecretText

    @property
    def key(self) -> Holding:
        return ("invite", self.email)


@dataclass
class Delivery:
    """A project, as the model knows it: its true key, who holds it, which researchers are in it."""

    number: int
    uid: str
    unit: str
    private: bytes
    holders: set[Holding] = field(default_factory=set)
    members: set[Holding] = field(default_factory=set)


@dataclass
class Paper:
    """A recovery kit."""

    unit: str
    words: SecretText
    number: int

    @property
    def key(self) -> Holding:
        return ("kit", str(self.number))


class Model:
    """What should be so."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.waiting: dict[str, Waiting] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.papers: dict[str, Paper] = {}

    def of_unit(self, unit: str) -> list[Person]:
        return [one for one in self.people.values() if one.unit == unit]

    def deliveries_of(self, unit: str | None) -> list[Delivery]:
        return [one for one in self.deliveries.values() if one.unit == unit]

    def held_by(self, key: Holding) -> list[Delivery]:
        return [one for one in self.deliveries.values() if key in one.holders]

    def is_lost_without(self, delivery: Delivery, key: Holding) -> bool:
        able = {one.key for one in self.people.values() if one.active}
        able |= {one.key for one in self.papers.values()}
        return key in delivery.holders and not (delivery.holders - {key}) & able

    def forget(self, key: Holding) -> None:
        for one in self.deliveries.values():
            one.holders.discard(key)
            one.members.discard(key)

    def rename(self, old: Holding, new: Holding) -> None:
        for one in self.deliveries.values():
            for names in (one.holders, one.members):
                if old in names:
                    names.remove(old)
                    names.add(new)
