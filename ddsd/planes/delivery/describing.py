"""What the description of the API says of every route: how it is authorised, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping
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
_MEANINGS_OF_PROJECT: Final = _MEANINGS | {
    404: "There is no such project, or no key",
    409: "It does not fit how the project is now",
}


def _described(meanings: Mapping[int, str]) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(Refusal, description=meaning, generate_examples=False)
        for status, meaning in meanings.items()
    }


REFUSED: Final = _described(_MEANINGS)
REFUSED_OF_PROJECT: Final = _described(_MEANINGS_OF_PROJECT)
