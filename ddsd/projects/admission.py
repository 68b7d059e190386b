"""Who asks, and about which project: found out once in a transaction, however many requests are answered in it.

Invariant: nothing outlives the transaction. What was read in it holds for everybody who is answered by its commit; a
session that was ended before is not found alive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ddsd.access import Member
from ddsd.keys.token import TokenContents
from ddsd.projects import gate
from ddsd.projects.tables import Project
from ddsd.users import sessions
from ddsd.users.sessions import Caller
from ddsd.work import Work


@dataclass(frozen=True)
class Admission:
    """The callers and projects of one transaction. A refusal is not kept: it is found out again."""

    work: Work
    _callers: dict[str, Caller] = field(default_factory=dict)
    _projects: dict[tuple[Member, str], Project] = field(default_factory=dict)

    async def caller(self, contents: TokenContents) -> Caller:
        """Return whose token said this.

        Raises:
            NotAuthenticated, UnknownSubject, Forbidden, UnderMaintenance: see :func:`ddsd.users.sessions.find`.
        """
        caller = self._callers.get(contents.session)
        if caller is None or caller.contents != contents:
            caller = await sessions.find_opened(self.work, contents)
            self._callers[contents.session] = caller
        return caller

    async def project(self, member: Member, public_id: str) -> Project:
        """Return the project if the member has to do with it; its row is not locked.

        Raises:
            NotFound, Forbidden: see :func:`ddsd.projects.gate.find`.
        """
        key = (member, public_id)
        if key not in self._projects:
            self._projects[key] = await gate.find(self.work, member, public_id)
        return self._projects[key]
