"""The checks, in the order in which they are performed, with what an operator is told about each."""

from __future__ import annotations

from typing import Final

from ddsd.storage.check import holes, keys, links, objects, replay, surroundings
from ddsd.storage.check.outcome import Check

_NOT_FIT: Final = "Use a store that does this; docs/stores.md lists those that were tried."
_POLICY: Final = (
    "Allow the configured key all of S3 on the unit's buckets. If it may already, the store cannot do this: "
    "docs/stores.md lists those that were tried."
)
_KEYS: Final = (
    "MinIO: the configured key must be a user's own, or be allowed admin:CreateServiceAccount. versitygw, AWS: set "
    "store.iam_endpoint. Any other store: make a key that may only read (store.read_only_access_key), and decide "
    "whether uploaders may have the configured key (store.allow_wide_upload_keys)."
)
_PROXY: Final = (
    "Let the reverse proxy before the store refuse requests whose x-amz-content-sha256 is "
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER (config/nginx/store.conf does), or use a store without this fault. Download "
    "links name a key that cannot write, so only people who were given an upload key can use the fault, in their "
    "project's bucket."
)
_CAUTION: Final = "Somebody who captures a signed request (in a log, say) can do more with it than it was made for."

ANSWERS: Final = Check(
    "answers",
    "It answers and takes our key",
    "Nothing works: no upload, no download, no removal.",
    "Correct store.endpoint, store.region, store.access_key or the secret; see that the store runs, and that no "
    "firewall is between.",
    objects.answers,
)

CHECKS: Final = (
    ANSWERS,
    Check(
        "clock",
        "Its clock agrees with ours",
        "From 15 minutes on it refuses every signature; links end too early or too late.",
        "Let NTP set the clocks of both machines.",
        surroundings.clock,
    ),
    Check(
        "transport",
        "Connections are encrypted, and its certificate is trusted",
        "Data is encrypted in itself, but links can be read on the way and used; or clients refuse to connect.",
        "Give the store a certificate that users' machines trust, and use https:// in store.endpoint and "
        "store.public_endpoint; store.ca_file names a CA of your own.",
        surroundings.transport,
    ),
    Check(
        "buckets",
        "Buckets are made, listed and removed",
        "No project can get its bucket, or none is removed at its end.",
        _POLICY,
        objects.buckets,
    ),
    Check(
        "objects",
        "Objects keep names, sizes and contents",
        "Files would be lost or mixed up.",
        _NOT_FIT,
        objects.objects,
    ),
    Check(
        "missing",
        "What is not there is told as missing",
        "ddsctl files lost tells wrong things, and registration refuses files that are there.",
        "Allow the configured key to list the bucket (s3:ListBucket): S3 hides what is missing from who may not list.",
        objects.missing,
    ),
    Check(
        "listing",
        "Long listings are complete and in order; a thousand go at once",
        "Store and database cannot be compared, and projects are not removed whole.",
        _NOT_FIT,
        objects.listing,
    ),
    Check(
        "at-once",
        "What is stored is seen at once",
        "The stock client registers files that the service does not find yet.",
        "Turn off caches between clients and store.",
        objects.at_once,
    ),
    Check(
        "parts",
        "Uploads in parts",
        "Nothing larger than 8 MiB can be uploaded.",
        _NOT_FIT,
        objects.parts,
    ),
    Check(
        "open-uploads",
        "Unfinished uploads are listed and ended",
        "What broken uploads leave takes room for good.",
        "Let the store end unfinished uploads by itself after some days (a lifecycle rule).",
        objects.open_uploads,
        needed=False,
    ),
    Check(
        "bucket-with-open-upload",
        "An unfinished upload does not keep a bucket",
        "The bucket of a project with a broken upload stays when the project ends, until the upload is ended.",
        "ddsctl jobs run abort_stale_uploads, or let the store end unfinished uploads by itself.",
        objects.bucket_with_open_upload,
        needed=False,
    ),
    Check(
        "damage",
        "A damaged body is refused (Content-MD5)",
        "Damage on the way up is seen at the download only: the container has a checksum of its own.",
        _NOT_FIT,
        objects.damage,
        needed=False,
    ),
    Check(
        "upload-keys",
        "Keys that upload into one bucket only, and end",
        "The stock client's uploads are refused: it needs a key, and the only one there is reaches every project.",
        _KEYS,
        keys.upload_keys,
    ),
    Check(
        "download-keys",
        "Keys that only read",
        "Downloads are refused: a link names the key that signed it, and nobody who may only read is shown a key that "
        "can write.",
        _KEYS,
        keys.download_keys,
    ),
    Check(
        "withdrawal",
        "A withdrawn key is worthless at once",
        "Who was given a key goes on uploading into a released project until the key ends by itself.",
        "Lower store.upload_key_hours; turn off caches of keys at the store (versitygw: --iam-cache-disable).",
        keys.withdrawal,
        needed=False,
    ),
    Check(
        "siblings",
        "Upload keys cannot withdraw other keys",
        "Who was given an upload key can end the keys of others that the same account made: their uploads and download "
        "links break off. ddsctl store rotate-keys makes new ones.",
        "Let the reverse proxy before the store refuse /minio/ (config/nginx/store.conf does). A unit with an account "
        "of its own harms no other: ddsctl store set-credentials.",
        keys.siblings,
        needed=False,
    ),
    Check("links", "Download links", "Nobody can download.", _NOT_FIT, links.links),
    Check(
        "ranges",
        "Parts of objects (Range)",
        "Downloads that broke off begin anew.",
        _NOT_FIT,
        links.ranges,
    ),
    Check("ends", "Links end", "Links are good for longer than they say.", _NOT_FIT, links.ends),
    Check(
        "anonymous",
        "Without a key nothing is told",
        "Everybody reads the (encrypted) data and the names of objects.",
        "Remove anonymous access from the store's policy.",
        links.anonymous,
    ),
    Check(
        "replayed-links",
        "Captured links are good for nothing else",
        _CAUTION,
        _NOT_FIT,
        replay.links,
    ),
    Check(
        "replayed-uploads",
        "Captured uploads are good for nothing else",
        _CAUTION,
        _NOT_FIT,
        replay.uploads,
    ),
    Check(
        "replayed-parts",
        "Captured uploads of parts are good for nothing else",
        _CAUTION,
        _NOT_FIT,
        replay.parts,
    ),
    Check(
        "added-headers",
        "Headers that are added to captured uploads change nothing",
        _CAUTION,
        "Let the reverse proxy before the store refuse requests with x-amz-copy-source or "
        "x-amz-meta-snowball-auto-extract.",
        replay.headers,
        needed=False,
    ),
    Check(
        "CVE-2026-41145",
        "It has not the fault CVE-2026-41145",
        "Who knows the id of a key that may write stores objects without its secret, until the key ends.",
        _PROXY,
        holes.query_form,
        needed=False,
    ),
    Check(
        "CVE-2026-40344",
        "It has not the fault CVE-2026-40344",
        "Who knows the id of a key that may write stores archives that the store unpacks, without the key's secret.",
        _PROXY,
        holes.header_form,
        needed=False,
    ),
    Check(
        "versions",
        "It does not keep versions of what is removed",
        "What is removed at a project's end goes on to take room, and can be read by the store's administrator.",
        "Turn versioning off for new buckets, or let a lifecycle rule remove old versions.",
        surroundings.versions,
        needed=False,
    ),
    Check(
        "speed",
        "Bytes go up and down (and how fast)",
        "Bytes do not go up and down at all.",
        "See what the checks before this one tell.",
        surroundings.speed,
    ),
)
