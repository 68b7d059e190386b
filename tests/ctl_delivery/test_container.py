"""What a container must be: the stock client's bytes, and never anything but the sender's file."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ddsctl.delivery import DamagedObject
from ddsctl.delivery.compression import FrameBroken
from ddsctl.delivery.container import (
    ChecksumWrong,
    ContainerFacts,
    FinalNonceWrong,
    KeyUnusable,
    Opening,
    Sealing,
    SegmentForged,
    SizeWrong,
    Truncated,
    decrypt,
    encrypt,
    object_key,
    processed_name,
    project_private_key,
    project_public_key,
    stored_size,
)
from tests.ctl_delivery.containers import (
    PROJECT,
    Stored,
    fixed_seed,
    opened,
    opened_independently,
    sealed,
)

SEGMENT = 65_536
SEALED = SEGMENT + 16
BOUNDARIES = [0, 1, 2, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073]

VECTOR_PROJECT = project_private_key(
    "20AB78C79187EA0AA7F3D528C486D29B6A312F197A4E695752241AB873EF7A64"
)
EMPTY_VECTOR = Stored(
    base64.b64decode("G8dNd6Gpq676vke5gVnL2gwMjtglFRC5dGO3cTSpl6JsxsVkMLHzj6Ybx013oamrrvq+R7k="),
    ContainerFacts(
        size_original=0,
        size_stored=53,
        salt_hex="3370224FCFE1CA9A0B3A10CD1008B9A1",
        public_key_hex="29D85E388C83F1E2F0067405C39864738B2ADC89D0661360F01945C2EBEEC46C",
        checksum_hex="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        compressed=True,
    ),
)
TEXT_VECTOR = Stored(
    base64.b64decode(
        "WJk6+tu+XjRKlIz4Kts/a/ZLrTJRJvTtCAJDGSwHD03JoDilqdtYT0iQDlF15n0y/HGxs8LGjceTTbHJn7KIKBnZ7szn"
        "UAY1GjQ7jQ3n2F//0YVTjD0YLqaYqGhdINxTFIlzoUFjQpFYmTr6275eNEqUjPg="
    ),
    ContainerFacts(
        size_original=400_000,
        size_stored=116,
        salt_hex="C3F635209CF28EF5169A510733593598",
        public_key_hex="4A18BECA23340B94BBFECF4F3167EF4962CC04009BB01784B48345C7D1D1272A",
        checksum_hex="93ca2f731bb2160cc8f261b848d7566ee203b63347582081cf65fed4be275fb8",
        compressed=True,
    ),
)

KNOWN_BLOB_HEX = (
    "ffffffffffffffffffffffffc72e4a7616fa440f1cf67b39f29b2596387a9441ffffffffffffffffffffffff"
)
KNOWN_FACTS = ContainerFacts(
    size_original=4,
    size_stored=44,
    salt_hex="CEB20772E0C9D240C75EB26B0E37ABEE",
    public_key_hex="E29D7521911498B837ED692D12A81587898E0AC3F6208EAC1069BCA82FB6B633",
    checksum_hex="f4734448c81e0817d25416b2985cd6f9ba5d8c5756e1892353265ea109dcfc61",
    compressed=False,
)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def described(blob: bytes, facts: ContainerFacts) -> Stored:
    """The blob with the size that it has, so that only what is inside can give it away."""
    return Stored(blob, replace(facts, size_stored=len(blob)))


@pytest.mark.parametrize(
    ("vector", "original"),
    [(EMPTY_VECTOR, b""), (TEXT_VECTOR, b"The quick brown fox\n" * 20_000)],
    ids=["empty", "text"],
)
def test_the_stock_clients_vectors_open(vector: Stored, original: bytes) -> None:
    sink = io.BytesIO()

    decrypt(io.BytesIO(vector.blob), sink, project_private=VECTOR_PROJECT, facts=vector.facts)

    assert sink.getvalue() == original


def test_a_container_with_known_choices_is_known_to_the_byte() -> None:
    stored = sealed(b"ddsd", seed=fixed_seed(first_nonce=b"\xff" * 12))

    assert stored.blob.hex() == KNOWN_BLOB_HEX
    assert stored.facts == KNOWN_FACTS


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_file_of_a_size_around_a_segment_comes_back(size: int, compress: bool) -> None:
    original = content(size)

    stored = sealed(original, compress=compress)

    assert opened(stored) == original
    assert stored.facts.size_stored == len(stored.blob)
    assert stored.facts.size_original == size
    assert stored.facts.checksum_hex == hashlib.sha256(original).hexdigest()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("size", BOUNDARIES)
def test_another_reader_opens_what_we_write(size: int, compress: bool) -> None:
    original = content(size)

    assert opened_independently(sealed(original, compress=compress)) == original


@given(
    size=st.one_of(
        st.sampled_from(BOUNDARIES),
        st.integers(0, 3 * SEGMENT),
        st.integers(-20, 20).map(lambda n: 2 * SEGMENT + n),
    ),
    step=st.sampled_from([7_919, 65_535, 65_536, 65_552, 65_564, 1_000_000]),
    compress=st.booleans(),
    repetitive=st.booleans(),
)
def test_any_file_comes_back_however_the_bytes_arrive(
    size: int, step: int, compress: bool, repetitive: bool
) -> None:
    original = b"ACGT" * (size // 4) if repetitive else content(size)
    pieces = (original[i : i + step] for i in range(0, len(original), step))
    stored, back = io.BytesIO(), io.BytesIO()

    facts = encrypt(pieces, stored, project_public=PROJECT.public_key(), compress=compress)
    blob = stored.getvalue()
    arriving = (blob[i : i + step] for i in range(0, len(blob), step))
    decrypt(arriving, back, project_private=PROJECT, facts=facts)

    assert back.getvalue() == original


def test_a_container_that_arrives_byte_by_byte_opens() -> None:
    stored = sealed(content(70_000))
    back = io.BytesIO()

    decrypt(
        (bytes([byte]) for byte in stored.blob), back, project_private=PROJECT, facts=stored.facts
    )

    assert back.getvalue() == content(70_000)


@pytest.mark.parametrize(
    "first_nonce",
    [b"\xff" * 12, (2**96 - 2).to_bytes(12, "little"), b"\xff" * 4 + bytes(8)],
    ids=["last", "last but one", "carry"],
)
def test_the_nonce_wraps_and_carries(first_nonce: bytes) -> None:
    original = content(3 * SEGMENT)

    stored = sealed(original, seed=fixed_seed(first_nonce))

    expected_last = (int.from_bytes(first_nonce, "little") + 2) % 2**96
    assert stored.blob[-12:] == expected_last.to_bytes(12, "little")
    assert opened(stored) == opened_independently(stored) == original


@pytest.mark.parametrize(
    ("payload", "size"),
    [(13, 53), (100_059, 100_115), (9_437_413, 9_439_757), (65_536, 65_576), (0, 40)],
)
def test_the_stored_size_follows_from_the_payload(payload: int, size: int) -> None:
    assert stored_size(payload) == size


def test_an_empty_payload_is_authenticated_all_the_same() -> None:
    stored = sealed(b"")
    bare = described(bytes(24), stored.facts)

    assert len(stored.blob) == stored_size(0)
    assert opened(stored) == opened_independently(stored) == b""
    with pytest.raises(Truncated):
        opened(bare)


@pytest.mark.parametrize("position", [0, 11, 12, 500, 12 + SEGMENT, 12 + SEALED, -29, -13, -12, -1])
def test_a_flipped_bit_anywhere_is_refused(position: int) -> None:
    stored = sealed(content(SEGMENT + 1_000))
    damaged = bytearray(stored.blob)
    damaged[position] ^= 0x10

    with pytest.raises((SegmentForged, FinalNonceWrong)):
        opened(Stored(bytes(damaged), stored.facts))


@given(length=st.integers(0, 2 * SEALED + 30))
def test_a_cut_object_is_refused_wherever_it_is_cut(length: int) -> None:
    stored = sealed(content(2 * SEGMENT + 7), seed=fixed_seed())
    cut = stored.blob[:length]

    with pytest.raises(Truncated):
        opened(Stored(cut, stored.facts))
    with pytest.raises(DamagedObject):
        opened(described(cut, stored.facts))


@pytest.mark.parametrize("added", [b"\x00", bytes(12), bytes(16), bytes(SEALED), bytes(100_000)])
def test_bytes_after_the_end_are_refused(added: bytes) -> None:
    stored = sealed(content(SEGMENT))

    with pytest.raises(SizeWrong):
        opened(Stored(stored.blob + added, stored.facts))
    with pytest.raises((SegmentForged, FinalNonceWrong, Truncated)):
        opened(described(stored.blob + added, stored.facts))


def test_a_cut_between_segments_with_a_fitting_final_nonce_is_refused() -> None:
    stored = sealed(content(2 * SEGMENT), seed=fixed_seed(bytes(12)))
    cut = described(stored.blob[: 12 + SEALED] + bytes(12), stored.facts)

    with pytest.raises(SizeWrong):
        opened(cut)


def test_a_final_nonce_of_another_segment_is_refused() -> None:
    stored = sealed(content(2 * SEGMENT), seed=fixed_seed(bytes(12)))

    with pytest.raises(FinalNonceWrong):
        opened(Stored(stored.blob[:-12] + bytes(12), stored.facts))


def test_swapped_segments_are_refused() -> None:
    stored = sealed(content(2 * SEGMENT))
    head, one, two, tail = (
        stored.blob[:12],
        stored.blob[12 : 12 + SEALED],
        stored.blob[12 + SEALED : -12],
        stored.blob[-12:],
    )

    with pytest.raises(SegmentForged):
        opened(Stored(head + two + one + tail, stored.facts))


def test_a_segment_of_another_file_is_refused() -> None:
    stored, other = sealed(content(2 * SEGMENT)), sealed(content(2 * SEGMENT))

    with pytest.raises(SegmentForged):
        opened(Stored(stored.blob[: 12 + SEALED] + other.blob[12 + SEALED :], stored.facts))


def test_another_projects_key_opens_nothing() -> None:
    stored = sealed(b"secret")
    sink = io.BytesIO()

    with pytest.raises(SegmentForged):
        decrypt(
            io.BytesIO(stored.blob),
            sink,
            project_private=X25519PrivateKey.generate(),
            facts=stored.facts,
        )
    assert sink.getvalue() == b""


def test_another_checksum_is_refused() -> None:
    stored = sealed(b"secret", compress=True)

    with pytest.raises(ChecksumWrong):
        opened(replace(stored, facts=replace(stored.facts, checksum_hex="0" * 64)))


def test_a_checksum_in_upper_case_is_the_same_checksum() -> None:
    stored = sealed(b"secret")
    facts = replace(stored.facts, checksum_hex=stored.facts.checksum_hex.upper())

    assert opened(replace(stored, facts=facts)) == b"secret"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("difference", [-1, 1])
def test_another_original_size_is_refused(difference: int, compress: bool) -> None:
    stored = sealed(b"secret", compress=compress)
    facts = replace(stored.facts, size_original=6 + difference)

    with pytest.raises(SizeWrong):
        opened(replace(stored, facts=facts))


def payload_sealed_as_frame(payload: bytes, original: bytes) -> Stored:
    """Any payload, sealed properly and registered as compressed."""
    stored = sealed(payload)
    return replace(
        stored,
        facts=replace(
            stored.facts,
            compressed=True,
            size_original=len(original),
            checksum_hex=hashlib.sha256(original).hexdigest(),
        ),
    )


def frame_of(original: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=4, write_checksum=True).compress(original)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:-1],
        lambda frame: frame[:-4],
        lambda frame: frame + b"\x00",
        lambda frame: frame + frame_of(b""),
        lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
        lambda _: b"not zstd at all",
        lambda _: b"",
    ],
    ids=["last byte cut", "checksum cut", "byte after", "frame after", "bad sum", "text", "none"],
)
def test_a_payload_that_is_not_one_whole_frame_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    stored = payload_sealed_as_frame(spoil(frame_of(b"original")), b"original")

    with pytest.raises(FrameBroken):
        opened(stored)


def test_a_frame_that_needs_a_huge_window_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    frame = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    payload = frame.compress(b"original") + frame.flush()

    with pytest.raises(FrameBroken):
        opened(payload_sealed_as_frame(payload, b"original"))


def test_a_decompression_bomb_is_stopped_at_the_registered_size() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compressobj()
    payload = b"".join(bomb.compress(bytes(2**20)) for _ in range(256)) + bomb.flush()
    stored = payload_sealed_as_frame(payload, b"original")
    sink = io.BytesIO()

    tracemalloc.start()
    with pytest.raises(SizeWrong):
        decrypt(io.BytesIO(stored.blob), sink, project_private=PROJECT, facts=stored.facts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sink.getvalue() == b""
    assert peak < 40 * 2**20


class Hole:
    """Takes everything and keeps nothing."""

    def write(self, piece: memoryview, /) -> int:
        return len(piece)


@pytest.mark.parametrize("compress", [False, True])
def test_memory_does_not_grow_with_the_file(compress: bool) -> None:
    block = content(2**20)
    tracemalloc.start()
    facts = encrypt(
        (block for _ in range(48)), Hole(), project_public=PROJECT.public_key(), compress=compress
    )
    _, peak_sealing = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    again = Sealing(
        (block for _ in range(48)),
        project_public=PROJECT.public_key(),
        compress=compress,
        seed=(seed := fixed_seed()),
    )
    public = seed.ephemeral.public_key().public_bytes_raw().hex()
    facts = replace(facts, salt_hex=seed.salt.hex(), public_key_hex=public)
    tracemalloc.start()
    arriving = (bytes(piece) for piece in again)
    decrypt(arriving, Hole(), project_private=PROJECT, facts=facts)
    _, peak_opening = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert facts.size_original == 48 * 2**20
    assert peak_sealing < 12 * 2**20
    assert peak_opening < 24 * 2**20


class Sip(io.BytesIO):
    """A sink that takes at most three bytes at a time, as an unbuffered file may."""

    def write(self, piece: object, /) -> int:
        assert isinstance(piece, memoryview)
        return super().write(piece[:3])


def test_a_sink_that_takes_little_at_a_time_still_gets_all() -> None:
    stored, back = Sip(), Sip()

    facts = encrypt(
        io.BytesIO(b"ten bytes."), stored, project_public=PROJECT.public_key(), compress=False
    )
    decrypt(io.BytesIO(stored.getvalue()), back, project_private=PROJECT, facts=facts)

    assert back.getvalue() == b"ten bytes."


def test_two_containers_of_one_file_share_nothing() -> None:
    one, two = sealed(b"same"), sealed(b"same")

    assert one.facts.public_key_hex != two.facts.public_key_hex
    assert one.facts.salt_hex != two.facts.salt_hex
    assert one.blob[:12] != two.blob[:12]


def test_a_sealing_cannot_be_taken_twice() -> None:
    sealing = Sealing([b"once"], project_public=PROJECT.public_key(), compress=False)
    list(sealing)

    with pytest.raises(RuntimeError):
        iter(sealing)


def test_the_facts_are_not_given_before_the_end() -> None:
    sealing = Sealing([b"once"], project_public=PROJECT.public_key(), compress=False)
    next(iter(sealing))

    with pytest.raises(RuntimeError):
        _ = sealing.facts


def test_an_opening_that_is_finished_early_is_refused() -> None:
    stored = sealed(b"secret")
    opening = Opening(io.BytesIO(), project_private=PROJECT, facts=stored.facts)
    opening.write(stored.blob[:20])

    with pytest.raises(Truncated):
        opening.finish()


def test_an_opening_goes_on_refusing_after_damage() -> None:
    stored = sealed(content(2 * SEGMENT))
    damaged = bytearray(stored.blob)
    damaged[100] ^= 1
    opening = Opening(io.BytesIO(), project_private=PROJECT, facts=stored.facts)
    with pytest.raises(SegmentForged):
        opening.write(damaged)

    with pytest.raises(DamagedObject):
        opening.finish()


@pytest.mark.parametrize("hexadecimal", ["", "AB", "G" * 64, "AB" * 33, "AB " * 32, "ä" * 64])
def test_a_key_that_is_not_64_digits_is_refused(hexadecimal: str) -> None:
    with pytest.raises(KeyUnusable):
        project_public_key(hexadecimal)
    with pytest.raises(KeyUnusable):
        project_private_key(hexadecimal)


def test_a_public_key_that_agrees_on_nothing_is_refused() -> None:
    stored = sealed(b"secret")

    with pytest.raises(KeyUnusable):
        Sealing([], project_public=project_public_key("00" * 32), compress=False)
    with pytest.raises(KeyUnusable):
        opened(replace(stored, facts=replace(stored.facts, public_key_hex="00" * 32)))


def test_a_salt_of_another_length_is_refused() -> None:
    stored = sealed(b"secret")

    with pytest.raises(KeyUnusable):
        opened(replace(stored, facts=replace(stored.facts, salt_hex="00" * 15)))


@pytest.mark.parametrize(
    ("name", "compressed", "processed"),
    [
        ("a.txt", True, "a.txt.zst.ccp"),
        ("a", True, "a.zst.ccp"),
        ("a", False, "a.ccp"),
        ("c.txt.gz", False, "c.txt.txt.gz.ccp"),
        (".hidden", True, ".hidden.zst.ccp"),
    ],
)
def test_a_processed_name_is_the_stock_clients(name: str, compressed: bool, processed: str) -> None:
    assert processed_name(name, compressed=compressed) == processed


def test_an_object_key_ends_as_the_stock_clients_does() -> None:
    key = object_key("v", processed_name("empty.txt", compressed=True))

    assert len(key) == 93
    assert key[20:] == "_0ad9fa60-82cb-57c1-bbae-0aa20605061e0f02ff94-735e-5cbd-b6d9-254d79c113c6"
    assert set(key[:20]) <= set("0123456789abcdef")
    assert key != object_key("v", processed_name("empty.txt", compressed=True))


def test_the_root_is_a_dot_in_an_object_key() -> None:
    assert "_6e72c8a0-0ed3-57a6-a67a-4205f8fad764" in object_key(".", "a.txt.zst.ccp")
