"""What a check is, what can come of it, and how one is performed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import urllib3
from minio.error import MinioException

from ddsd.errors import DdsError

if TYPE_CHECKING:
    from ddsd.storage.check.bench import Bench

PATIENCE_S: Final = 180.0
"""How long one check may take. The slowest moves some MiB in both directions."""


class Verdict(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    WARNING = "warning"
    """Deliveries work; the operator should know, and may want to do something."""
    FAILED = "failed"
    """Deliveries will not work, or not safely."""
    NOT_TRIED = "not tried"


class NotKept(Exception):
    """The store does not do what is asked for; the text says what was seen instead."""


class Concern(Exception):
    """It works, but not as it should; the text says what was seen."""


class NotTried(Exception):
    """The check makes no sense here, or something that it needs is missing; the text says what."""


@dataclass(frozen=True)
class Check:
    """One promise. ``meaning``: what it means when it is not kept; ``remedy``: what to do then.

    ``attempt`` returns what was seen (may be empty), or raises one of the three above. A check that is not ``needed``
    warns where another one fails.
    """

    name: str
    capability: str
    meaning: str
    remedy: str
    attempt: Callable[[Bench], Awaitable[str]]
    needed: bool = True


@dataclass(frozen=True)
class Outcome:
    """What came of one check, what was seen, and how long it took."""

    check: Check
    verdict: Verdict
    seen: str
    seconds: float


async def perform(check: Check, bench: Bench) -> Outcome:
    """Return what comes of a check; whatever the store does, this does not raise."""
    import httpx  # here and in bench: an idle daemon does without it

    begun = time.monotonic()
    unkept = Verdict.FAILED if check.needed else Verdict.WARNING
    try:
        async with asyncio.timeout(PATIENCE_S):
            verdict, seen = Verdict.PASSED, await check.attempt(bench)
    except NotTried as why:
        verdict, seen = Verdict.NOT_TRIED, str(why)
    except Concern as why:
        verdict, seen = Verdict.WARNING, str(why)
    except NotKept as why:
        verdict, seen = unkept, str(why)
    except TimeoutError:
        verdict, seen = unkept, f"It did not come to an end within {PATIENCE_S:.0f} s."
    except DdsError as why:
        verdict, seen = unkept, why.message
    except MinioException as why:
        verdict, seen = unkept, f"It refused: {why}"
    except (httpx.HTTPError, urllib3.exceptions.HTTPError, OSError) as why:
        verdict = unkept
        seen = f"At {bench.endpoint} (store.public_endpoint) it does not answer this machine: {why}"
    except Exception as why:  # noqa: BLE001  # what answers may be no store at all, and say anything
        verdict, seen = unkept, f"Its answer was not understood: {type(why).__name__}: {why}"
    return Outcome(check, verdict, seen, time.monotonic() - begun)
