"""A daemon that is killed while it writes letters."""

from __future__ import annotations

from dataclasses import replace

from ddsd.keys.instance import InstanceKey
from ddsd.work import Services


class Killed(BaseException):
    """The daemon was killed."""


class DyingKey(InstanceKey):
    """An instance key whose process is killed at a given use."""

    def __init__(self, key: InstanceKey, uses: int) -> None:
        super().__init__(key._key)
        self.uses = uses

    def seal(self, plain: bytes, purpose: str) -> bytes:
        """Seal, or die."""
        if self.uses == 0:
            raise Killed
        self.uses -= 1
        return super().seal(plain, purpose)


def killed_after(services: Services, letters: int) -> Services:
    """Return the services of a daemon that is killed when it has written this many letters."""
    return replace(services, instance_key=DyingKey(services.instance_key, letters))
