"""The file container: how one file's bytes lie, encrypted, in the object store.

Inherited format, byte for byte: wire contract §8, in prose in ``docs/container.md``::

    N0 (12 bytes) | segment 0 | segment 1 | … | last segment | Nlast (12 bytes)

Each segment is up to 64 KiB of payload under ChaCha20-Poly1305 (RFC 8439) with a 16-byte tag; its
nonce is N0 plus its index, little-endian, modulo 2^96. The payload is the file, or one zstd frame
of it. The file key comes from X25519 between the project's key and a key made for this file alone.

Invariants: memory is bounded in both directions, whatever the size of the file. Nothing seals two
payloads under one key. Opening succeeds only when every tag, the final nonce, both sizes and the
SHA-256 of the original agree; the container alone cannot show that it was cut at the end of a
segment (its nonces are not secret), so sizes and checksum are not optional here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ddsctl.delivery import DamagedObject, DeliveryError
from ddsctl.delivery.compression import FrameReader, compressed

SEGMENT_BYTES: Final = 65_536
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32

_SEALED_SEGMENT_BYTES: Final = SEGMENT_BYTES + TAG_BYTES
_NONCES: Final = 2 ** (8 * NONCE_BYTES)

Bytes = bytes | bytearray | memoryview


class KeyUnusable(DeliveryError):
    """A key or salt that came over the wire cannot be used."""


class SegmentForged(DamagedObject):
    """A segment does not pass its tag: damaged, out of place, or for another key."""


class Truncated(DamagedObject):
    """The stored object ends before it may."""


class FinalNonceWrong(DamagedObject):
    """The nonce at the end is not that of the last segment: something is missing or added."""


class SizeWrong(DamagedObject):
    """The stored object or the original has another size than was registered."""


class ChecksumWrong(DamagedObject):
    """The SHA-256 of the decrypted file is not the registered one."""


@runtime_checkable
class Readable(Protocol):
    """Whatever yields bytes when read; an empty answer is the end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        ...


class Writable(Protocol):
    """Whatever takes bytes; it may take fewer than offered, and says so."""

    def write(self, piece: memoryview, /) -> int | None:
        """Take the bytes, which are the sink's only until the call returns."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What must be known of a stored object besides its bytes; the server keeps it (§4, file/new).

    Sizes in bytes. ``salt_hex``: 32 upper-case digits; ``public_key_hex``: 64, the ephemeral
    X25519 key; ``checksum_hex``: 64 lower-case digits, SHA-256 of the original file.
    ``compressed``: the payload is a zstd frame of the file, not the file itself.
    """

    size_original: int
    size_stored: int
    salt_hex: str
    public_key_hex: str
    checksum_hex: str
    compressed: bool


@dataclass(frozen=True, slots=True)
class Seed:
    """The three random choices behind one container. Using one twice breaks the encryption.

    ``salt``: 16 bytes; ``first_nonce``: 12 bytes.
    """

    ephemeral: X25519PrivateKey
    salt: bytes
    first_nonce: bytes

    @classmethod
    def fresh(cls) -> Seed:
        """Choose at random, from the operating system."""
        return cls(X25519PrivateKey.generate(), os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES))


def project_public_key(hexadecimal: str) -> X25519PublicKey:
    """Read an X25519 public key as ``proj/public`` gives it: 64 hex digits, 32 raw bytes.

    Raises: KeyUnusable when it is anything else.
    """
    return X25519PublicKey.from_public_bytes(_unhex("public key", hexadecimal, KEY_BYTES))


def project_private_key(hexadecimal: str) -> X25519PrivateKey:
    """Read an X25519 private key as ``proj/private`` gives it: 64 hex digits, 32 raw bytes.

    Raises: KeyUnusable when it is anything else; the message does not quote it.
    """
    return X25519PrivateKey.from_private_bytes(_unhex("private key", hexadecimal, KEY_BYTES))


def stored_size(payload_bytes: int) -> int:
    """Return the size of the object that a payload of this many bytes becomes (§8.3).

    An empty payload, which the stock client never writes, is one empty segment here, so that even
    nothing is authenticated.
    """
    segments = max(1, -(-payload_bytes // SEGMENT_BYTES))
    return 2 * NONCE_BYTES + payload_bytes + TAG_BYTES * segments


def processed_name(name: str, *, compressed: bool) -> str:
    """Return the name a file has while it is encrypted; only :func:`object_key` uses it.

    ``compressed``: it became a zstd frame. Several suffixes are repeated (``c.txt.gz`` becomes
    ``c.txt.txt.gz.ccp``), as the stock client does (§8.6).
    """
    path = PurePosixPath(name)
    return path.with_suffix("".join(path.suffixes) + (".zst.ccp" if compressed else ".ccp")).name


def object_key(subpath: str, processed: str) -> str:
    """Make a fresh object key of 93 characters (§8.6), opaque to the server.

    ``subpath``: the file's folder in the project, ``.`` at the root; ``processed``: see
    :func:`processed_name`. Two keys for one file differ in their random beginning.
    """
    places = (uuid.uuid5(uuid.NAMESPACE_X500, name) for name in (subpath, processed))
    return f"{secrets.token_hex(10)}_{''.join(map(str, places))}"


class Sealing:
    """One file on its way into its container: iterate over the pieces once, then ask for the facts.

    A piece is valid only until the next one is asked for: the buffers are used again.
    """

    def __init__(
        self,
        source: Readable | Iterable[bytes],
        *,
        project_public: X25519PublicKey,
        compress: bool,
        seed: Seed | None = None,
    ) -> None:
        """Prepare to seal ``source`` for ``project_public``.

        ``compress``: make it a zstd frame first; see :func:`compression.is_compressed`.
        ``seed``: for known-answer tests only; otherwise chosen at random.

        Raises: KeyUnusable when no secret can be agreed on with the project's key.
        """
        seed = seed or Seed.fresh()
        self._blocks = _blocks(source)
        self._compress = compress
        self._salt = seed.salt
        self._first_nonce = seed.first_nonce
        self._public = seed.ephemeral.public_key().public_bytes_raw()
        self._cipher = _file_cipher(seed.ephemeral, project_public, seed.salt)
        self._sha256 = hashlib.sha256()
        self._size_original = 0
        self._size_stored = 0
        self._begun = False
        self._finished = False

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the stored object from its first byte to its last.

        Raises: RuntimeError the second time, since it would use nonces again under one key.
        """
        if self._begun:
            raise RuntimeError("a file is sealed once under one key; make a new Sealing")
        self._begun = True
        return self._pieces()

    @property
    def facts(self) -> ContainerFacts:
        """What the server must be told of the object.

        Raises: RuntimeError before the last piece was taken.
        """
        if not self._finished:
            raise RuntimeError("the facts are known when the last piece was taken")
        return ContainerFacts(
            size_original=self._size_original,
            size_stored=self._size_stored,
            salt_hex=self._salt.hex().upper(),
            public_key_hex=self._public.hex().upper(),
            checksum_hex=self._sha256.hexdigest(),
            compressed=self._compress,
        )

    def _pieces(self) -> Iterator[memoryview]:
        for piece in self._framed():
            self._size_stored += len(piece)
            yield piece
        self._finished = True

    def _framed(self) -> Iterator[memoryview]:
        payload = compressed(self._measured()) if self._compress else self._measured()
        sealed = memoryview(bytearray(_SEALED_SEGMENT_BYTES))
        counter = int.from_bytes(self._first_nonce, "little")
        nonce = self._first_nonce
        yield memoryview(nonce)
        for index, segment in enumerate(_segments(payload)):
            nonce = _nonce(counter + index)
            target = sealed[: len(segment) + TAG_BYTES]
            self._cipher.encrypt_into(nonce, segment, None, target)
            yield target
        yield memoryview(nonce)

    def _measured(self) -> Iterator[bytes]:
        for block in self._blocks:
            self._sha256.update(block)
            self._size_original += len(block)
            yield block


class Opening:
    """One stored object on its way back to a file: write its bytes in order, then finish.

    The sink receives bytes as they are decrypted. They are the sender's only when :meth:`finish`
    has returned: until then keep them under another name.
    """

    def __init__(
        self, sink: Writable, *, project_private: X25519PrivateKey, facts: ContainerFacts
    ) -> None:
        """Prepare to decrypt the object that ``facts`` describes into ``sink``.

        Raises: KeyUnusable when the salt or the public key in ``facts`` cannot be used.
        """
        peer = X25519PublicKey.from_public_bytes(
            _unhex("public key", facts.public_key_hex, KEY_BYTES)
        )
        salt = _unhex("salt", facts.salt_hex, SALT_BYTES)
        self._cipher = _file_cipher(project_private, peer, salt)
        self._facts = facts
        self._original = _Original(sink, facts)
        self._frame = FrameReader(self._original.write) if facts.compressed else None
        self._received = 0
        # A sealed segment and what may be the final nonce: only what follows tells them apart.
        self._buffer = memoryview(bytearray(_SEALED_SEGMENT_BYTES + NONCE_BYTES))
        self._plain = memoryview(bytearray(SEGMENT_BYTES))
        self._held = 0
        self._first_nonce: int | None = None
        self._segments = 0

    def write(self, piece: Bytes) -> None:
        """Take the next bytes of the stored object, however many.

        Raises: DamagedObject (one of its leaves) as soon as they cannot be right.
        """
        self._received += len(piece)
        if self._received > self._facts.size_stored:
            raise SizeWrong(f"the stored object has more than {self._facts.size_stored} bytes")
        view = memoryview(piece)
        while view:
            view = view[self._take(view) :]

    def finish(self) -> None:
        """Confirm that all is there and all is right.

        Raises: Truncated, FinalNonceWrong, SizeWrong, ChecksumWrong, SegmentForged or FrameBroken.
        """
        if self._received < self._facts.size_stored:
            raise Truncated(
                f"the stored object ends after {self._received} of {self._facts.size_stored} bytes"
            )
        if self._first_nonce is None or self._held < NONCE_BYTES:
            raise Truncated("the stored object is too short to be a container")
        rest = self._held - NONCE_BYTES
        if rest or not self._segments:
            self._open_segment(self._first_nonce, rest)
        if self._buffer[rest : self._held] != _nonce(self._first_nonce + self._segments - 1):
            raise FinalNonceWrong("the stored object is cut or has been added to")
        if self._frame is not None:
            self._frame.finish()
        self._original.finish()

    def _take(self, view: memoryview) -> int:
        room = NONCE_BYTES if self._first_nonce is None else len(self._buffer)
        taken = min(len(view), room - self._held)
        self._buffer[self._held : self._held + taken] = view[:taken]
        self._held += taken
        if self._held == room:
            self._empty_buffer()
        return taken

    def _empty_buffer(self) -> None:
        if self._first_nonce is None:
            self._first_nonce = int.from_bytes(self._buffer[:NONCE_BYTES], "little")
            self._held = 0
        else:
            self._open_segment(self._first_nonce, _SEALED_SEGMENT_BYTES)
            self._buffer[:NONCE_BYTES] = self._buffer[_SEALED_SEGMENT_BYTES:]
            self._held = NONCE_BYTES

    def _open_segment(self, first_nonce: int, length: int) -> None:
        if length < TAG_BYTES:
            raise Truncated("the last segment is shorter than its tag")
        plain = self._plain[: length - TAG_BYTES]
        nonce = _nonce(first_nonce + self._segments)
        try:
            self._cipher.decrypt_into(nonce, self._buffer[:length], None, plain)
        except InvalidTag:
            raise SegmentForged(
                f"segment {self._segments} of the stored object is damaged"
            ) from None
        self._segments += 1
        if self._frame is None:
            self._original.write(plain)
        else:
            self._frame.write(plain)


class _Original:
    """The end of the line: hashes, counts and never lets through more than was registered."""

    def __init__(self, sink: Writable, facts: ContainerFacts) -> None:
        self._sink = sink
        self._facts = facts
        self._sha256 = hashlib.sha256()
        self._size = 0

    def write(self, piece: Bytes) -> None:
        self._size += len(piece)
        if self._size > self._facts.size_original:
            raise SizeWrong(f"the file has more than {self._facts.size_original} bytes")
        self._sha256.update(piece)
        _write_all(self._sink, memoryview(piece))

    def finish(self) -> None:
        if self._size != self._facts.size_original:
            raise SizeWrong(f"the file has {self._size} bytes, not {self._facts.size_original}")
        if not hmac.compare_digest(self._sha256.hexdigest(), self._facts.checksum_hex.lower()):
            raise ChecksumWrong("the SHA-256 of the file is not the registered one")


def encrypt(
    source: Readable | Iterable[bytes],
    sink: Writable,
    *,
    project_public: X25519PublicKey,
    compress: bool,
    seed: Seed | None = None,
) -> ContainerFacts:
    """Read ``source`` to its end and write its container to ``sink``; see :class:`Sealing`.

    Raises: KeyUnusable, and whatever the source and the sink raise.
    """
    sealing = Sealing(source, project_public=project_public, compress=compress, seed=seed)
    for piece in sealing:
        _write_all(sink, piece)
    return sealing.facts


def decrypt(
    source: Readable | Iterable[bytes],
    sink: Writable,
    *,
    project_private: X25519PrivateKey,
    facts: ContainerFacts,
) -> None:
    """Read a container to its end and write the original file to ``sink``; see :class:`Opening`.

    Raises: DamagedObject (one of its leaves) when anything at all is not as it was sent; the sink
    may by then have received some bytes. KeyUnusable, and whatever the source and the sink raise.
    """
    opening = Opening(sink, project_private=project_private, facts=facts)
    for block in _blocks(source):
        opening.write(block)
    opening.finish()


def _file_cipher(
    private: X25519PrivateKey, public: X25519PublicKey, salt: bytes
) -> ChaCha20Poly1305:
    try:
        shared = private.exchange(public)
    except ValueError as error:
        raise KeyUnusable("no secret can be agreed on with this public key") from error
    return ChaCha20Poly1305(HKDF(SHA256(), length=KEY_BYTES, salt=salt, info=b"").derive(shared))


def _nonce(counter: int) -> bytes:
    return (counter % _NONCES).to_bytes(NONCE_BYTES, "little")


def _blocks(source: Readable | Iterable[bytes]) -> Iterator[bytes]:
    # An open file is iterable too, but by lines.
    if isinstance(source, Readable):
        return iter(lambda: source.read(SEGMENT_BYTES), b"")
    return iter(source)


def _segments(payload: Iterable[bytes]) -> Iterator[memoryview]:
    """Cut a payload into segments; there is always one, and only the last may be short."""
    segment = memoryview(bytearray(SEGMENT_BYTES))
    filled = 0
    any_yielded = False
    for piece in payload:
        view = memoryview(piece)
        while view:
            taken = min(len(view), SEGMENT_BYTES - filled)
            segment[filled : filled + taken] = view[:taken]
            view = view[taken:]
            filled += taken
            if filled == SEGMENT_BYTES:
                yield segment
                filled, any_yielded = 0, True
    if filled or not any_yielded:
        yield segment[:filled]


def _unhex(what: str, hexadecimal: str, length: int) -> bytes:
    try:
        raw = bytes.fromhex(hexadecimal)
    except ValueError:
        raw = b""
    if len(raw) != length or len(hexadecimal) != 2 * length:
        raise KeyUnusable(f"the {what} is not {2 * length} hexadecimal digits")
    return raw


def _write_all(sink: Writable, piece: memoryview) -> None:
    while piece:
        written = sink.write(piece)
        if written is None:
            return
        piece = piece[written:]
