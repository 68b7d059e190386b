"""From the domain's values to the delivery API's words."""

from __future__ import annotations

from typing import Final

from ddsd.contract import delivery as wire
from ddsd.keys.hierarchy import KdfCost
from ddsd.users import proof
from ddsd.users.proof import Derivation
from ddsd.users.sessions import Caller
from ddsd.users.tables import SecondFactor, Session, SessionKind, User
from ddsd.work import Services

SECOND_FACTORS: Final = {
    SecondFactor.MAIL: wire.SecondFactor.MAIL,
    SecondFactor.APP: wire.SecondFactor.APP,
}


def derivation(by: Derivation) -> wire.Derivation:
    """Present what to derive with."""
    return wire.Derivation(salt=by.salt, cost=cost(by.cost))


def cost(one: KdfCost) -> wire.Cost:
    """Present a cost."""
    return wire.Cost(memory_kib=one.memory_kib, iterations=one.iterations, lanes=one.lanes)


def account(user: User) -> wire.Account:
    """Present an account to its owner."""
    return wire.Account(uid=user.uid, username=user.username, name=user.name, role=user.role.value)


def session(row: Session, *, this: int) -> wire.Session:
    """Present a session to its owner; ``this`` is the id of the one that asks."""
    return wire.Session(
        uid=row.uid,
        started_at=row.created_at,
        expires_at=row.expires_at,
        address=row.address,
        agent=row.agent,
        browser=row.kind is SessionKind.WEB,
        holds_key=row.sealed_private_key is not None,
        this=row.id == this,
    )


def logged_in(services: Services, token: str, caller: Caller) -> wire.LoggedIn:
    """Present a login that is complete."""
    user = caller.user
    wanted = proof.wanted_cost(services, user)
    return wire.LoggedIn(
        token=token,
        expires_at=caller.session.expires_at,
        account=account(user),
        public_key=user.public_key or b"",
        wrapped_private_key=user.wrapped_private_key or b"",
        wanted_cost=cost(wanted) if wanted else None,
    )
