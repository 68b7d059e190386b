"""An S3 store whose keys are made by a service that speaks AWS's IAM API: versitygw's, or AWS itself.

Every key that is handed out is a user of its own with one access key and one policy. The policy holds the key to its
actions and its bucket, and ends it: ``aws:CurrentTime`` is compared at every request. Invariant: users that this
module makes are named ``ddsd-…`` below the path ``/ddsd/``, and it touches no others.

Source of the requests: AWS, "IAM API Reference", version 2010-05-08, as far as versitygw 1.8 has it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlencode
from xml.etree import ElementTree

import urllib3

from ddsd.clock import Clock
from ddsd.errors import DdsError, StoreRefused, StoreUnavailable
from ddsd.secret import SecretText
from ddsd.storage.minio import S3Store
from ddsd.storage.port import May, ScopedKey, expiry
from ddsd.storage.s3 import Account
from ddsd.storage.sigv4 import ALGORITHM, Signable, amz_date_of, host_of, scope, signing_key

_API: Final = "2010-05-08"
_SERVICE: Final = "iam"
_REGION: Final = "us-east-1"
"""IAM is signed for this region, wherever the store is (AWS, "IAM endpoints and quotas")."""
_PATH: Final = "/ddsd/"
_POLICY: Final = "ddsd"
_FOR_GOOD: Final = "for-good"
_MOMENT: Final = "%Y%m%dT%H%M%SZ"
_ACTIONS: Final[Mapping[May, tuple[str, ...]]] = {
    May.UPLOAD: ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
    May.DOWNLOAD: ("s3:GetObject",),
}
_FORM: Final = "application/x-www-form-urlencoded"


class IamStore(S3Store):
    """An S3 store with an IAM service at ``iam_endpoint``, to which the configured key is known, too."""

    def __init__(
        self,
        *,
        iam_endpoint: str,
        endpoint: str,
        access_key: str,
        secret_key: SecretText,
        public_endpoint: str | None = None,
        region: str = "us-east-1",
        buckets: str = "*",
        ca_file: Path | None = None,
        clock: Clock | None = None,
        threads: int = 8,
    ) -> None:
        super().__init__(
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            public_endpoint=public_endpoint,
            region=region,
            buckets=buckets,
            ca_file=ca_file,
            clock=clock,
            threads=threads,
        )
        self._iam = Account(iam_endpoint.rstrip("/"), _REGION, access_key, secret_key, ca_file)

    async def issue_upload_key(self, bucket: str, lifetime: timedelta) -> ScopedKey:
        """See ``ObjectStore.issue_upload_key``."""
        expires_at = expiry(self._clock.now(), lifetime)
        return await self._issue(May.UPLOAD, bucket, expires_at)

    async def issue_download_key(self, lifetime: timedelta | None = None) -> ScopedKey:
        """See ``ObjectStore.issue_download_key``."""
        expires_at = expiry(self._clock.now(), lifetime) if lifetime else None
        return await self._issue(May.DOWNLOAD, None, expires_at)

    async def revoke_key(self, access_key: str) -> None:
        """See ``ObjectStore.revoke_key``. Keys of users that were not made here are left alone."""
        try:
            found = await self._ask("GetAccessKeyLastUsed", AccessKeyId=access_key)
        except _NoSuchEntity:
            return
        user = _text(found, "UserName")
        if user.startswith(f"{_POLICY}-"):
            await self._remove_user(user)

    async def change_secret(self, secret: SecretText) -> None:
        """See ``ObjectStore.change_secret``."""
        raise StoreRefused("A user of an IAM service gets another access key, not another secret.")

    async def _issue(self, may: May, bucket: str | None, expires_at: datetime | None) -> ScopedKey:
        await self._remove_expired()
        user = _user_name(expires_at)
        await self._ask("CreateUser", UserName=user, Path=_PATH)
        try:
            document = json.dumps(_document(may, bucket or self._buckets, expires_at))
            await self._ask(
                "PutUserPolicy", UserName=user, PolicyName=_POLICY, PolicyDocument=document
            )
            made = await self._ask("CreateAccessKey", UserName=user)
        except (StoreRefused, StoreUnavailable):
            await self._remove_user(user)
            raise
        secret = SecretText(_text(made, "SecretAccessKey"))
        return ScopedKey(_text(made, "AccessKeyId"), secret, may, bucket, expires_at)

    async def _remove_expired(self) -> None:
        """Remove users whose keys are worth nothing any more: nobody else does."""
        found = await self._ask("ListUsers", PathPrefix=_PATH)
        now = self._clock.now().astimezone(UTC).strftime(_MOMENT)
        for one in tuple(_named(found, "UserName")):
            user = one.text or ""
            until = user.removeprefix(f"{_POLICY}-").partition("-")[0]
            if until.endswith("Z") and until < now:
                await self._remove_user(user)

    async def _remove_user(self, user: str) -> None:
        try:
            keys = await self._ask("ListAccessKeys", UserName=user)
            for one in _named(keys, "AccessKeyId"):
                await self._ask("DeleteAccessKey", UserName=user, AccessKeyId=one.text or "")
        except _NoSuchEntity:
            return
        for action, more in (("DeleteUserPolicy", {"PolicyName": _POLICY}), ("DeleteUser", {})):
            try:
                await self._ask(action, UserName=user, **more)
            except _NoSuchEntity:
                continue

    async def _ask(self, action: str, **parameters: str) -> ElementTree.Element:
        session = self._open()
        form = urlencode({"Action": action, "Version": _API, **parameters}).encode()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(session.threads, self._send, action, form)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailable(
                f"The store's IAM service at {self._iam.endpoint} (store.iam_endpoint) does not "
                f"answer: {error}"
            ) from error

    def _send(self, action: str, form: bytes) -> ElementTree.Element:
        http = self._iam.http(retries=0)
        headers = _signed(self._iam, form, self._clock.now())
        answer = http.request("POST", f"{self._iam.endpoint}/", body=form, headers=headers)
        told = _parsed(answer.data)
        if told is None:
            raise StoreRefused(
                f"What answers at {self._iam.endpoint} is no IAM service (HTTP {answer.status}): "
                "correct store.iam_endpoint, or leave it empty."
            )
        if answer.status < 300:
            return told
        raise _refusal(action, answer.status, _text(told, "Code"), _text(told, "Message"))


class _NoSuchEntity(StoreRefused):
    """The IAM service knows no such user, policy or key."""


def _document(may: May, bucket: str | None, expires_at: datetime | None) -> Mapping[str, object]:
    statement: dict[str, object] = {
        "Effect": "Allow",
        "Action": list(_ACTIONS[may]),
        "Resource": [f"arn:aws:s3:::{bucket or '*'}/*"],
    }
    if expires_at:
        until = expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        statement["Condition"] = {"DateLessThan": {"aws:CurrentTime": until}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _user_name(expires_at: datetime | None) -> str:
    until = expires_at.astimezone(UTC).strftime(_MOMENT) if expires_at else _FOR_GOOD
    return f"{_POLICY}-{until}-{secrets.token_hex(8)}"


def _signed(account: Account, form: bytes, now: datetime) -> dict[str, str]:
    date = amz_date_of(now)
    signed = {"content-type": _FORM, "host": host_of(account.endpoint), "x-amz-date": date}
    request = Signable("POST", "/", "", signed, sha256(form).hexdigest())
    key = signing_key(account.secret_key, date[:8], account.region, _SERVICE)
    signature = request.signature(key, date, account.region, _SERVICE)
    credential = f"{account.access_key}/{scope(date, account.region, _SERVICE)}"
    return signed | {
        "authorization": f"{ALGORITHM} Credential={credential}, "
        f"SignedHeaders={';'.join(sorted(signed))}, Signature={signature}"
    }


def _parsed(answer: bytes) -> ElementTree.Element | None:
    """Return what an IAM service answered; ``None`` where it is no such service's answer."""
    try:
        # Expat, which this is, resolves no external entities and bounds those that expand.
        told = ElementTree.fromstring(answer)  # noqa: S314
    except ElementTree.ParseError:
        return None
    return told if told.tag.endswith("Response") else None


def _refusal(action: str, status: int, code: str, message: str) -> DdsError:
    if code == "NoSuchEntity":
        return _NoSuchEntity(f"The store's IAM service knows no such thing: {message}")
    if status >= 500 or code == "Throttling":
        return StoreUnavailable(f"The store's IAM service cannot make keys now: {code} {message}")
    return StoreRefused(
        f"The store's IAM service refused {action}: {code} {message} The configured key "
        "(store.access_key) must be allowed to make users, policies and access keys there."
    )


def _named(tree: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of a name; each service puts them into a namespace of its own."""
    return (one for one in tree.iter() if one.tag.rpartition("}")[2] == name)


def _text(tree: ElementTree.Element, name: str) -> str:
    return next((one.text or "" for one in _named(tree, name)), "")
