"""The closed sets that the admin plane and ddsctl spell the same. Standard library only: ddsctl starts fast."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

HOST: Final = "ddsd"
"""The ``Host`` that requests on the admin socket must name; a browser cannot be made to send it."""

API_VERSION: Final = "1"
"""First part of every path on the admin socket."""


VERSION_HEADER: Final = "X-Ddsd-Version"
"""Every answer on the admin socket carries the daemon's version here,"""

API_HEADER: Final = "X-Ddsd-Api"
"""and here the :data:`API_VERSION` it speaks, also where a path leads nowhere."""


class FindingKind(StrEnum):
    """How store and database may disagree."""

    OBJECT_WITHOUT_FILE = "object-without-file"
    FILE_WITHOUT_OBJECT = "file-without-object"
    WRONG_SIZE = "wrong-size"
    LEFTOVER_UPLOAD = "leftover-upload"
    MISSING_BUCKET = "missing-bucket"
    BUCKET_OF_NOBODY = "bucket-of-nobody"


class Verdict(StrEnum):
    """What came of one check of a store."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_TRIED = "not tried"


class Role(StrEnum):
    """What an account is, as an operator writes it."""

    SUPER_ADMIN = "super-admin"
    UNIT_ADMIN = "unit-admin"
    UNIT_PERSONNEL = "unit-personnel"
    RESEARCHER = "researcher"


class ProjectVerb(StrEnum):
    """What an operator may do to a project's status."""

    RELEASE = "release"
    RETRACT = "retract"
    EXTEND = "extend"
    EXPIRE = "expire"
    ARCHIVE = "archive"
    ABORT = "abort"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"
