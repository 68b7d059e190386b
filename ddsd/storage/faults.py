"""What a store's refusals and silences are called: each names what was seen, the setting it hangs on, and what to do.

The settings are those of the configured store; a unit's own account is changed with ``ddsctl store set-credentials``.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from ddsd.errors import DdsError, StoreObjectMissing, StoreRefused, StoreUnavailable

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NoSuchVersion"})
_AWAY: Final = frozenset(
    {
        "ServiceUnavailable",
        "SlowDown",
        "InternalError",
        "RequestTimeout",
        "XMinioServerNotInitialized",
        "XMinioStorageFull",
    }
)
_KEY: Final = (
    "Correct store.access_key, or the secret in store.secret_key_file; the key of a unit's own account: "
    "ddsctl store set-credentials."
)
_REGION: Final = "Set store.region to the region that the store names."
_REMEDIES: Final = {
    "InvalidAccessKeyId": _KEY,
    "SignatureDoesNotMatch": f"{_KEY} If the key is right, a proxy before the store changes the request: let it pass "
    "on the Host header as it came.",
    "AuthorizationHeaderMalformed": _REGION,
    "InvalidRegion": _REGION,
    "RequestTimeTooSkewed": "Let NTP set the clocks of this machine and of the store's.",
    # To a HEAD, which has no body, a wrong key is answered in the same way.
    "AccessDenied": "Either the key is wrong (store.access_key and its secret; ddsctl store show tells), or it may not "
    "do this: ddsctl store policy UNIT prints what a unit's key needs.",
}
_CONNECTION: Final = re.compile(r"^HTTPS?Connection\([^)]*\): ")
_NO_STORE: Final = (
    "This does not look like an object store (store.endpoint): give the address of its S3 API, not of its console "
    "or of a web server."
)


def refusal(error: S3Error | ServerError | InvalidResponseError) -> DdsError:
    """Return the leaf of the domain's errors that says what the store said."""
    match error:
        case S3Error(code=code) if code in _MISSING:
            return StoreObjectMissing(f"The object store has no such thing: {_said(error)}")
        case S3Error(code=code) if code not in _AWAY:
            remedy = _REMEDIES.get(code or "", "")
            return StoreRefused(f"The object store refused: {_said(error)}. {remedy}".rstrip())
        case ServerError(status_code=status) if status < 500:
            return StoreRefused(f"{_NO_STORE} It said: {error}")
        case InvalidResponseError() if error._code < 500:
            return StoreRefused(f"{_NO_STORE} It answered {error._code}: {_beginning(error)}")
        case S3Error(code="XMinioStorageFull"):
            return StoreUnavailable(
                "The object store's disks are full: make room on them, or add some; what waits goes on by itself."
            )
        case _:
            return StoreUnavailable(f"The object store cannot serve now: {error}")


def nonsense(error: Exception) -> StoreRefused:
    """Say what minio-py stumbled over: a name it does not send, or an answer that no store gives."""
    if isinstance(error, ValueError) and not str(error).startswith("XML element"):
        return StoreRefused(f"The object store cannot have that name: {error}")
    return StoreRefused(f"{_NO_STORE} Its answer cannot be understood: {error}")


def silence(endpoint: str, error: Exception) -> StoreUnavailable:
    """Say why no answer came from ``endpoint`` (urllib3's errors, and the system's)."""
    reason = _root(error)
    match reason:
        case urllib3.exceptions.ResponseError() if "redirects" in str(reason):
            why = "it sends us elsewhere"
            remedy = (
                "Set store.endpoint to the address of its S3 API itself, with http:// or https://."
            )
        case urllib3.exceptions.ResponseError():
            return StoreUnavailable(
                f"The object store at {endpoint} cannot serve now: {reason}. If it was just started, try again in a "
                "moment; otherwise see its own log."
            )
        case ssl.SSLCertVerificationError():
            why = f"its certificate is not trusted ({reason.verify_message})"
            remedy = "Name the CA that signed it in store.ca_file, or correct the host in store.endpoint."
        case ssl.SSLError():
            why = f"it does not speak TLS, or not ours ({reason.reason or reason})"
            remedy = "If it is plain HTTP, begin store.endpoint with http://."
        case urllib3.exceptions.ProtocolError():
            why = f"the connection was cut ({reason})"
            remedy = "If it speaks TLS, begin store.endpoint with https://; otherwise see the store's own log."
        case _:
            why = _in_words(reason)
            remedy = "See that it runs, and that store.endpoint is its address and no firewall is between."
    return StoreUnavailable(f"The object store at {endpoint} does not answer: {why}. {remedy}")


def slowness(endpoint: str, seconds: float | None) -> StoreUnavailable:
    """Say that ``endpoint`` did not come to an end with a request, within ``seconds`` or at all."""
    within = "" if seconds is None else f" within {seconds:.0f} s"
    return StoreUnavailable(
        f"The object store at {endpoint} did not come to an end{within}. See its own log, its disks, "
        "and the network; ddsctl store check tells how fast it is."
    )


def _root(error: BaseException) -> BaseException:
    """Return what urllib3 wrapped: it repeats the whole chain in every message."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in error.args if isinstance(one, ssl.SSLError)), None)
        if inner is None or inner is error:
            return error
        error = inner


def _in_words(reason: BaseException) -> str:
    """Return what happened, without the objects it happened to."""
    last = reason.args[-1] if reason.args else ""
    text = last if isinstance(last, str) and last else str(reason)
    return _CONNECTION.sub("", text).rstrip(".")


def _said(error: S3Error) -> str:
    place = "/".join(part for part in (error.bucket_name, error.object_name) if part)
    return f"{error.code} {error.message or ''} {place}".strip().rstrip(".")


def _beginning(error: InvalidResponseError) -> str:
    """Return the first line of what was answered, short: it may be a whole page."""
    return " ".join(str(error._body or "").split())[:80]
