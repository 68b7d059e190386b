"""Logging in without sending the password, step by step (docs/delivery-api.md)."""

from __future__ import annotations

from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from ddsd.access import Nobody
from ddsd.contract import delivery as wire
from ddsd.keys.hierarchy import KdfCost
from ddsd.planes.delivery import present
from ddsd.planes.delivery.call import Call
from ddsd.planes.delivery.describing import BEARER, REFUSED
from ddsd.secret import SecretBytes
from ddsd.users import login, proof, sessions
from ddsd.users.proof import Derivation, Rederived
from ddsd.users.tables import SecondFactor
from ddsd.work import reading


@post("/login/start", status_code=200, responses=REFUSED)
async def start(data: JSONBody[wire.StartLogin], call: NamedDependency[Call]) -> wire.Derivation:
    """Ask what a password is derived with. The answer does not tell whether the account exists."""
    by = await proof.derivation(call.services, data.username, call.address)
    return present.derivation(by)


@post("/login/proof", status_code=200, responses=REFUSED)
async def prove(
    data: JSONBody[wire.ProveLogin], call: NamedDependency[Call]
) -> wire.SecondFactorWanted:
    """Prove the password by `auth`. Where codes are mailed, one is."""
    accepted = await proof.check(
        call.services, data.username, SecretBytes(data.auth), call.address, agent=call.agent
    )
    factor = present.SECOND_FACTORS[accepted.second_factor]
    return wire.SecondFactorWanted(token=accepted.token, second_factor=factor)


@post("/login/second-factor", status_code=200, security=BEARER, responses=REFUSED)
async def second_factor(
    data: JSONBody[wire.GiveCode], call: NamedDependency[Call]
) -> wire.LoggedIn:
    """Give the code, with the token of the first step; receive the session's token and the sealed private key."""
    partial = call.token()
    async with reading(call.services, Nobody()) as work:
        caller = await sessions.find(work, partial)
    mailed = caller.user.second_factor is SecondFactor.MAIL
    token = await login.check_second_factor(
        call.services,
        partial,
        mailed=data.code if mailed else None,
        app=None if mailed else data.code,
    )
    async with reading(call.services, Nobody()) as work:
        complete = await sessions.find(work, token)
    return present.logged_in(call.services, token, complete)


@post("/login/upgrade", status_code=204, security=BEARER, responses=REFUSED)
async def upgrade(data: JSONBody[wire.UpgradeLogin], call: NamedDependency[Call]) -> None:
    """Store the same password under the cost that the service asks for, as the client derived it."""
    cost = KdfCost(data.cost.memory_kib, data.cost.iterations, data.cost.lanes)
    anew = Rederived(Derivation(data.salt, cost), SecretBytes(data.auth), data.wrapped_private_key)
    await proof.follow_cost(call.services, call.token(), SecretBytes(data.auth_before), anew)


ROUTES: list[HTTPRouteHandler] = [start, prove, second_factor, upgrade]
