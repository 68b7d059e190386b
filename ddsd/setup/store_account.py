"""The service's own account at a MinIO, made with an administrator's key that is lent for it.

Invariant: an account that the store accepts is left as it is; one that is made reaches buckets with our names only.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ddsd import bootstrap
from ddsd.clock import SystemClock
from ddsd.errors import DdsError, StoreRefused
from ddsd.secret import SecretText
from ddsd.settings import Secrets, Settings, StoreKind
from ddsd.setup.draft import Lent
from ddsd.setup.service import ServiceFailed
from ddsd.storage.minio import make_user
from ddsd.storage.stores import StoreAccount, StoreAddress, StoreUser, policy_for
from ddsd.units.units import ANY_BUCKET


def ensure(settings: Settings, secrets: Secrets, lent: Lent) -> bool:
    """Make the account that the configuration names, unless the store accepts it already; return whether it was made.

    Raises:
        ServiceFailed: the store does not answer, or the lent key is no administrator's.
    """
    section = settings.store
    if section.kind is StoreKind.EMBEDDED:
        return False
    secret = secrets.store_secret_key or SecretText("")
    address = StoreAddress(section.endpoint, section.endpoint, section.region, section.iam_endpoint)
    account = StoreAccount(address, section.access_key, secret)
    administrator = replace(account, access_key=lent.access_key, secret_key=lent.secret)
    user = StoreUser(account.access_key, account.secret_key, policy_for(ANY_BUCKET))
    try:
        if asyncio.run(_is_accepted(settings, account)):
            return False
        asyncio.run(make_user(administrator, user, ca_file=section.ca_file))
    except DdsError as wrong:
        raise ServiceFailed(
            f"the account {account.access_key} could not be made at {section.endpoint} with the key"
            f" {lent.access_key}: {wrong.message} Everything else is written; run this again."
        ) from wrong
    return True


async def _is_accepted(settings: Settings, account: StoreAccount) -> bool:
    store = bootstrap.opened(SystemClock(), account, ca_file=settings.store.ca_file)
    await store.start()
    try:
        await store.probe()
    except StoreRefused:
        return False
    finally:
        await store.stop()
    return True
