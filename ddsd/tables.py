"""Imports every slice's tables, so that the metadata is complete for migrations and foreign keys."""

from __future__ import annotations

from ddsd.audit import tables as audit
from ddsd.db.base import METADATA
from ddsd.files import tables as files
from ddsd.jobs import tables as jobs
from ddsd.keys import tables as keys
from ddsd.mail import tables as mail
from ddsd.notices import tables as notices
from ddsd.projects import tables as projects
from ddsd.units import tables as units
from ddsd.usage import tables as usage
from ddsd.users import tables as users

__all__ = [
    "METADATA",
    "audit",
    "files",
    "jobs",
    "keys",
    "mail",
    "notices",
    "projects",
    "units",
    "usage",
    "users",
]
