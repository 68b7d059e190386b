"""What the description of the API says of every route: how it is authorised, and how it refuses."""

from __future__ import annotations

from typing import Final

from litestar.openapi import ResponseSpec
from litestar.openapi.spec import SecurityRequirement

from ddsd.contract.delivery import Refusal

BEARER: Final[list[SecurityRequirement]] = [{"bearer": []}]
_MEANINGS: Final = {
    400: "What was sent cannot be used",
    401: "Nobody, or not completely, logged in; or a wrong proof or code",
    403: "Not allowed",
    429: "Too many attempts: see Retry-After",
    503: "Away for now: see Retry-After",
}
REFUSED: Final = {
    status: ResponseSpec(Refusal, description=meaning, generate_examples=False)
    for status, meaning in _MEANINGS.items()
}
REFUSED_OF_PROJECT: Final = REFUSED | {
    404: ResponseSpec(
        Refusal, description="There is no such project, or no key", generate_examples=False
    )
}
