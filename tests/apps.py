"""Public applications for tests: built once for each set-up they depend on, then used again on other services.

Building one takes longer than most tests. No two worlds of one test share one.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar

from ddsd.planes import public
from ddsd.work import Services

_built: dict[tuple[Any, ...], list[Litestar]] = {}
_taken: dict[tuple[Any, ...], int] = {}


def take(services: Services) -> Litestar:
    """Return an application on these services that the running test has not taken yet."""
    built = _built.setdefault(_fixed_at_building(services), [])
    number = _taken.get(_fixed_at_building(services), 0)
    _taken[_fixed_at_building(services)] = number + 1
    if number == len(built):
        built.append(public.build(services))
    built[number].state.services = services
    return built[number]


def free_all() -> None:
    """Let the next test take what this one took."""
    _taken.clear()


def _fixed_at_building(services: Services) -> tuple[Any, ...]:
    instance = services.settings.instance
    return (
        services.settings.listen.max_body_mib,
        instance.demo,
        instance.public_url,
        services.instance_key.derive("tests").reveal(),
    )
