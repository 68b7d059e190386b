"""Primitives against the vectors of the RFCs, and against every kind of damage."""

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from ddsd.errors import InvalidInput, SealBroken
from ddsd.keys import primitives

KEY = bytes(range(32))
PRIVATE = bytes(range(32, 64))
PUBLIC = primitives.x25519_public(PRIVATE)
CONTEXT = primitives.binding("test", "subject")


def seal_aead(plain: bytes) -> bytes:
    return primitives.aead_seal(plain, key=KEY, context=CONTEXT)


def open_aead(blob: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    return primitives.aead_open(blob, key=key, context=context)


def seal_hpke(plain: bytes) -> bytes:
    return primitives.hpke_seal(plain, public=PUBLIC, context=CONTEXT)


def open_hpke(blob: bytes, key: bytes = PRIVATE, context: bytes = CONTEXT) -> bytes:
    return primitives.hpke_open(blob, private=key, context=context)


BOTH = pytest.mark.parametrize(
    ("seal", "opening"), [(seal_aead, open_aead), (seal_hpke, open_hpke)], ids=["aead", "hpke"]
)


def flips(blob: bytes) -> list[bytes]:
    whole = int.from_bytes(blob, "big")
    return [(whole ^ (1 << bit)).to_bytes(len(blob), "big") for bit in range(len(blob) * 8)]


def test_the_library_computes_argon2id_of_rfc_9106() -> None:
    # Section 5.3; with secret and associated data, which our own function does not take.
    derived = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    ).derive(b"\x01" * 32)
    assert derived.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


def test_argon2id_agrees_with_the_reference_implementation() -> None:
    # phc-winner-argon2, src/test.c: argon2id, version 0x13, t=2, m=2^16, p=1.
    derived = primitives.argon2id(
        b"password", salt=b"somesalt", memory_kib=65536, iterations=2, lanes=1
    )
    assert derived.hex() == "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"


@pytest.mark.parametrize(
    ("salt", "memory_kib", "iterations", "lanes"),
    [(b"short", 64, 1, 1), (b"x" * 16, 4, 1, 1), (b"x" * 16, 64, 0, 1), (b"x" * 16, 64, 1, 0)],
)
def test_argon2id_outside_its_limits_is_refused(
    salt: bytes, memory_kib: int, iterations: int, lanes: int
) -> None:
    with pytest.raises(InvalidInput):
        primitives.argon2id(
            b"p", salt=salt, memory_kib=memory_kib, iterations=iterations, lanes=lanes
        )


def test_argon2id_without_enough_memory_is_unavailable() -> None:
    script = (
        "from ddsd.errors import Unavailable\n"
        "from ddsd.keys.primitives import argon2id\n"
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({512 * 2**20}, {resource.RLIM_INFINITY}))\n"
        "try:\n"
        "    argon2id(b'p', salt=b's' * 16, memory_kib=2**20, iterations=1, lanes=1)\n"
        "except Unavailable as error:\n"
        "    print(error.message)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "no 1048576 KiB of memory free to derive a key\n"


def test_hkdf_agrees_with_rfc_5869_case_1() -> None:
    derived = primitives.hkdf_sha256(
        b"\x0b" * 22,
        salt=bytes.fromhex("000102030405060708090a0b0c"),
        info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        length=42,
    )
    assert derived.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_hkdf_without_salt_agrees_with_rfc_5869_case_3() -> None:
    derived = primitives.hkdf_sha256(b"\x0b" * 22, info=b"", length=42)
    assert derived.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_our_hpke_suite_opens_the_vector_of_rfc_9180() -> None:
    # Appendix A.2.1.1, sequence number 0. Its aad goes only
    # through the library's inner function.
    private = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
    enc = bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    sealed = bytes.fromhex(
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
    )
    plain = openssl.hpke._decrypt_with_aad(
        primitives._HPKE,
        enc + sealed,
        X25519PrivateKey.from_private_bytes(private),
        b"Ode on a Grecian Urn",
        b"Count-0",
    )
    assert plain == b"Beauty is truth, truth beauty"


def test_public_key_agrees_with_rfc_7748() -> None:
    # Section 6.1, Alice.
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    assert primitives.x25519_public(private).hex() == (
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    )


@BOTH
@given(plain=st.binary(max_size=200))
def test_what_was_sealed_opens(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes], plain: bytes
) -> None:
    assert opening(seal(plain)) == plain


@BOTH
def test_every_flipped_bit_is_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes]
) -> None:
    for damaged in flips(seal(b"thirty-two bytes of private key.")):
        with pytest.raises(SealBroken):
            opening(damaged)


@BOTH
def test_every_shortened_blob_is_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes]
) -> None:
    blob = seal(b"plain")
    for length in range(len(blob)):
        with pytest.raises(SealBroken):
            opening(blob[:length])


@BOTH
def test_a_lengthened_blob_is_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SealBroken):
        opening(seal(b"plain") + b"\0")


@BOTH
@given(blob=st.binary(max_size=120))
def test_bytes_from_nowhere_are_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes], blob: bytes
) -> None:
    for start in (b"", b"\x01\x01", b"\x01\x02"):
        with pytest.raises(SealBroken):
            opening(start + blob)


@BOTH
def test_another_context_is_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes, bytes, bytes], bytes]
) -> None:
    key = KEY if seal is seal_aead else PRIVATE
    with pytest.raises(SealBroken):
        opening(seal(b"plain"), key, primitives.binding("test", "other"))


@BOTH
@pytest.mark.parametrize("key", [b"\x07" * 32, b"", b"\x07" * 16, b"\x07" * 31, b"\x07" * 33])
def test_another_key_is_refused(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes, bytes], bytes], key: bytes
) -> None:
    with pytest.raises(SealBroken):
        opening(seal(b"plain"), key)


def test_one_construction_does_not_open_the_other() -> None:
    with pytest.raises(SealBroken, match="format 1, suite 2"):
        open_hpke(seal_aead(b"plain"))
    with pytest.raises(SealBroken, match="format 1, suite 1"):
        open_aead(seal_hpke(b"plain"))


def test_a_short_key_does_not_seal() -> None:
    with pytest.raises(SealBroken):
        primitives.aead_seal(b"plain", key=b"k" * 16, context=CONTEXT)


@pytest.mark.parametrize("public", [b"", b"\x01" * 31, b"\0" * 32, b"\x01" + b"\0" * 31])
def test_an_unusable_public_key_is_refused(public: bytes) -> None:
    with pytest.raises(SealBroken):
        primitives.hpke_seal(b"plain", public=public, context=CONTEXT)


@BOTH
def test_the_same_plain_text_seals_differently_each_time(
    seal: Callable[[bytes], bytes], opening: Callable[[bytes], bytes]
) -> None:
    assert seal(b"plain")[2:14] != seal(b"plain")[2:14]


@given(
    left=st.lists(st.text(max_size=4), min_size=1, max_size=3),
    right=st.lists(st.text(max_size=4), min_size=1, max_size=3),
)
def test_different_names_never_bind_alike(left: list[str], right: list[str]) -> None:
    try:
        same = primitives.binding(*left) == primitives.binding(*right)
    except InvalidInput:
        assert any(not part or "\0" in part for part in left + right)
    else:
        assert same == (left == right)


@pytest.mark.parametrize("subject", ["", "a\0b"])
def test_an_unclear_binding_is_refused(subject: str) -> None:
    with pytest.raises(InvalidInput):
        primitives.binding("test", subject)


@pytest.mark.parametrize("lanes", [1, 4])
def test_argon2id_runs_at_once_all_end(lanes: int) -> None:
    program = (
        "from concurrent.futures import ThreadPoolExecutor as Threads\n"
        "from ddsd.keys.primitives import argon2id\n"
        "run = lambda _: argon2id("
        f"b'x', salt=b'0' * 16, memory_kib=8192, iterations=1, lanes={lanes})\n"
        "with Threads(4) as threads:\n"
        "    print(len(set(threads.map(run, range(200)))))\n"
    )
    # In a process of its own, as it can hang where no exception reaches.
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
