"""The vectors printed in docs/formats.md, against the code."""

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ddsd.keys import hierarchy, kits, primitives
from ddsd.keys.hierarchy import KdfCost
from ddsd.keys.instance import InstanceKey
from ddsd.keys.token import TokenContents, TokenPurpose, open_token
from ddsd.keys.unlocked import unlock_by_session
from ddsd.secret import SecretBytes, SecretText

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def printed() -> dict[str, str]:
    block = PAGE.read_text().split("```vectors\n")[1].split("```")[0]
    return dict(re.findall(r"^(\S+) +(\S+)$", block, re.MULTILINE))


VECTORS = printed()


def vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def run_of(first: int) -> SecretBytes:
    return SecretBytes(bytes(range(first, first + 32)))


PASSWORD = "Blåbärsöl 2026!"
SALT = bytes(range(16))
USER_PRIVATE, PROJECT_PRIVATE, TOKEN_KEY = run_of(0x20), run_of(0x40), run_of(0x60)
LINK_SECRET, KIT_SECRET = run_of(0x80), run_of(0xE0)
INSTANCE = InstanceKey(run_of(0xC0))
EXPIRY = datetime(2026, 11, 29, 7, 0, 10, 300697, tzinfo=UTC)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_master_key_follows_from_the_password_in_either_unicode_form(form: str) -> None:
    password = SecretText(unicodedata.normalize(form, PASSWORD))  # type: ignore[arg-type]
    master = hierarchy.derive_master(password, SALT, KdfCost.current)
    assert master.reveal() == vector("master")


def test_master_key_splits_as_printed() -> None:
    split = hierarchy.split_master(SecretBytes(vector("master")))
    assert split.auth.reveal() == vector("auth")
    assert split.kek.reveal() == vector("kek")
    assert hierarchy.auth_verifier(split.auth) == vector("auth-verifier")


def test_public_key_is_as_printed() -> None:
    assert hierarchy.pair_of(USER_PRIVATE).public == vector("user-public")


def test_printed_user_key_opens() -> None:
    kek = SecretBytes(vector("kek"))
    opened = hierarchy.open_user_key(vector("user-key"), kek=kek, owner="user-anna")
    assert opened == USER_PRIVATE


def test_printed_project_key_opens() -> None:
    opened = hierarchy.unwrap_project_key(
        vector("project-key"), holder_private=USER_PRIVATE, project="project-7"
    )
    assert opened == PROJECT_PRIVATE


def test_printed_link_key_opens() -> None:
    opened = hierarchy.open_from_link(vector("link-key"), secret=LINK_SECRET, owner="invite-3")
    assert opened == USER_PRIVATE


def test_printed_kit_opens_with_its_words() -> None:
    words = re.findall(r"^`((?:[a-z]+ ){23}[a-z]+)`\.$", PAGE.read_text(), re.MULTILINE)
    assert words == [kits.words_of(KIT_SECRET).text()]
    assert kits.open_kit(SecretText(words[0])).public == vector("kit-public")


def test_printed_session_opens_down_to_the_project_key() -> None:
    split = hierarchy.split_token_key(TOKEN_KEY, session="session-9")
    unlocked = unlock_by_session(vector("session-key"), split=split, user_uid="user-anna")
    assert split.matches(vector("session-verifier"))
    assert unlocked.open_project_key(vector("project-key"), "project-7") == PROJECT_PRIVATE


def test_printed_instance_secret_opens() -> None:
    assert INSTANCE.open(vector("instance-secret"), "totp").reveal() == b"hemlig"


def test_token_key_is_as_printed() -> None:
    assert INSTANCE.token_key.reveal() == vector("token-key")


@pytest.mark.parametrize(
    ("name", "purpose", "expires_at"),
    [
        ("partial-token", TokenPurpose.PARTIAL, None),
        ("session-token", TokenPurpose.SESSION, EXPIRY),
    ],
)
def test_printed_token_opens(name: str, purpose: TokenPurpose, expires_at: datetime | None) -> None:
    opened = open_token(
        VECTORS[name], key=INSTANCE.token_key, now=datetime(2026, 11, 22, tzinfo=UTC)
    )
    assert opened == TokenContents(purpose, "session-9", TOKEN_KEY, expires_at)


@pytest.mark.parametrize(
    ("name", "plain_bytes", "overhead"),
    [
        ("user-key", 32, 30),
        ("project-key", 32, 50),
        ("link-key", 32, 30),
        ("session-key", 32, 30),
        ("instance-secret", 6, 30),
    ],
)
def test_blob_is_as_long_as_the_page_says(name: str, plain_bytes: int, overhead: int) -> None:
    assert len(vector(name)) == plain_bytes + overhead


def test_new_blobs_have_the_printed_heads_and_lengths() -> None:
    pair = hierarchy.new_key_pair()
    kek = hierarchy.new_secret()
    sealed = hierarchy.seal_user_key(pair.private, kek=kek, owner="user-anna")
    wrapped = hierarchy.wrap_project_key(
        pair.private, holder_public=pair.public, project="project-7"
    )
    assert (sealed[:2], len(sealed)) == (b"\x01\x01", 62)
    assert (wrapped[:2], len(wrapped)) == (b"\x01\x02", 82)


def test_binding_is_spelt_as_the_page_says() -> None:
    assert primitives.binding("session-key", "s", "u") == b"ddsd/1\0session-key\0s\0u"
