"""From a password to a project's key: what opens, and all that must not."""

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsd.errors import InvalidInput, SealBroken
from ddsd.keys import hierarchy
from ddsd.keys.hierarchy import KdfCost, SessionSplit
from ddsd.secret import SecretBytes, SecretText

CHEAP = KdfCost(memory_kib=8192, iterations=1, lanes=1)
SALT = bytes(range(16))
PRIVATE = SecretBytes(b"P" * 16 + b"Q" * 16)
KEK = SecretBytes(b"k" * 32)
SECRETS = st.binary(min_size=32, max_size=32).map(SecretBytes)
UIDS = st.text(
    alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)


def master(password: str, salt: bytes = SALT, cost: KdfCost = CHEAP) -> bytes:
    return hierarchy.derive_master(SecretText(password), salt, cost).reveal()


def split_for(session: str, token_key: SecretBytes = KEK) -> SessionSplit:
    return hierarchy.split_token_key(token_key, session=session)


def test_default_cost_is_the_second_recommendation_of_rfc_9106() -> None:
    assert KdfCost.current == KdfCost() == KdfCost(memory_kib=65536, iterations=3, lanes=4)


@pytest.mark.parametrize(
    "cost",
    [
        (8191, 3, 4),
        (4 * 2**20 + 1, 3, 4),
        (65536, 0, 4),
        (65536, 65, 4),
        (65536, 3, 0),
        (65536, 3, 17),
    ],
)
def test_cost_out_of_bounds_is_refused(cost: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidInput):
        KdfCost(*cost)


@pytest.mark.parametrize("cost", [(8192, 1, 1), (4 * 2**20, 64, 16)])
def test_cost_at_its_bounds_is_accepted(cost: tuple[int, int, int]) -> None:
    assert KdfCost(*cost).memory_kib == cost[0]


def test_master_key_depends_on_password_salt_and_each_part_of_the_cost() -> None:
    derived = {
        master("one"),
        master("two"),
        master("one", salt=bytes(16)),
        master("one", cost=KdfCost(8193 + 3, 1, 1)),
        master("one", cost=KdfCost(8192, 2, 1)),
        master("one", cost=KdfCost(8192, 1, 2)),
    }
    assert len(derived) == 6
    assert all(len(key) == 32 for key in derived)


def test_composed_and_decomposed_passwords_are_the_same() -> None:
    assert master("caf\u00e9") == master("cafe\u0301")


@pytest.mark.parametrize(
    ("left", "right"),
    [("\ufb01sk", "fisk"), ("pass", "pass "), ("Pass", "pass"), ("a\u00a0b", "a b")],
)
def test_passwords_that_only_look_alike_stay_different(left: str, right: str) -> None:
    assert master(left) != master(right)


def test_short_salt_is_refused() -> None:
    with pytest.raises(InvalidInput):
        master("one", salt=b"s" * 15)


def test_salts_and_secrets_are_fresh() -> None:
    assert len(hierarchy.new_salt()) == 16
    assert hierarchy.new_salt() != hierarchy.new_salt()
    assert len(hierarchy.new_secret()) == 32
    assert hierarchy.new_secret() != hierarchy.new_secret()


@given(master_key=SECRETS)
def test_auth_kek_and_verifier_are_all_different(master_key: SecretBytes) -> None:
    split = hierarchy.split_master(master_key)
    verifier = hierarchy.auth_verifier(split.auth)
    keys = {master_key.reveal(), split.auth.reveal(), split.kek.reveal(), verifier}
    assert len(keys) == 4


@given(auth=SECRETS, other=SECRETS)
def test_verifier_recognises_its_auth_and_no_other(auth: SecretBytes, other: SecretBytes) -> None:
    verifier = hierarchy.auth_verifier(auth)
    assert hierarchy.auth_matches(auth, verifier)
    assert hierarchy.auth_matches(other, verifier) == (auth == other)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_auth_of_another_length_does_not_match(length: int) -> None:
    assert not hierarchy.auth_matches(SecretBytes(b"a" * length), bytes(32))


def test_verifier_itself_is_no_auth() -> None:
    verifier = hierarchy.auth_verifier(KEK)
    assert not hierarchy.auth_matches(SecretBytes(verifier), verifier)


def test_key_pairs_are_fresh_and_complete() -> None:
    pair = hierarchy.new_key_pair()
    assert hierarchy.pair_of(pair.private) == pair
    assert hierarchy.new_key_pair() != pair


@given(private=SECRETS, kek=SECRETS, owner=UIDS)
def test_user_key_opens_again(private: SecretBytes, kek: SecretBytes, owner: str) -> None:
    blob = hierarchy.seal_user_key(private, kek=kek, owner=owner)
    assert hierarchy.open_user_key(blob, kek=kek, owner=owner) == private


@given(private=SECRETS, project=UIDS)
def test_project_key_opens_for_its_holder(private: SecretBytes, project: str) -> None:
    holder = hierarchy.new_key_pair()
    blob = hierarchy.wrap_project_key(private, holder_public=holder.public, project=project)
    opened = hierarchy.unwrap_project_key(blob, holder_private=holder.private, project=project)
    assert opened == private


@given(private=SECRETS, secret=SECRETS, owner=UIDS)
def test_link_opens_again(private: SecretBytes, secret: SecretBytes, owner: str) -> None:
    blob = hierarchy.seal_for_link(private, secret=secret, owner=owner)
    assert hierarchy.open_from_link(blob, secret=secret, owner=owner) == private


@given(private=SECRETS, token_key=SECRETS, session=UIDS, owner=UIDS)
def test_session_opens_again(
    private: SecretBytes, token_key: SecretBytes, session: str, owner: str
) -> None:
    split = split_for(session, token_key)
    blob = hierarchy.seal_for_session(private, split=split, owner=owner)
    again = split_for(session, token_key)
    assert again.matches(split.verifier)
    assert hierarchy.open_from_session(blob, split=again, owner=owner) == private


def test_user_key_of_another_owner_or_password_does_not_open() -> None:
    blob = hierarchy.seal_user_key(PRIVATE, kek=KEK, owner="anna")
    with pytest.raises(SealBroken):
        hierarchy.open_user_key(blob, kek=KEK, owner="bo")
    with pytest.raises(SealBroken):
        hierarchy.open_user_key(blob, kek=SecretBytes(b"l" * 32), owner="anna")


def test_project_key_of_another_project_or_holder_does_not_open() -> None:
    holder, other = hierarchy.new_key_pair(), hierarchy.new_key_pair()
    blob = hierarchy.wrap_project_key(PRIVATE, holder_public=holder.public, project="p1")
    with pytest.raises(SealBroken):
        hierarchy.unwrap_project_key(blob, holder_private=holder.private, project="p2")
    with pytest.raises(SealBroken):
        hierarchy.unwrap_project_key(blob, holder_private=other.private, project="p1")


def test_link_of_another_owner_or_secret_does_not_open() -> None:
    blob = hierarchy.seal_for_link(PRIVATE, secret=KEK, owner="invite")
    with pytest.raises(SealBroken):
        hierarchy.open_from_link(blob, secret=KEK, owner="another")
    with pytest.raises(SealBroken):
        hierarchy.open_from_link(blob, secret=hierarchy.new_secret(), owner="invite")


@pytest.mark.parametrize(
    ("split", "owner"),
    [
        (split_for("s2"), "anna"),
        (split_for("s1", SecretBytes(b"l" * 32)), "anna"),
        (split_for("s1"), "bo"),
    ],
    ids=["another session", "another token", "another owner"],
)
def test_session_key_does_not_open_elsewhere(split: SessionSplit, owner: str) -> None:
    blob = hierarchy.seal_for_session(PRIVATE, split=split_for("s1"), owner="anna")
    with pytest.raises(SealBroken):
        hierarchy.open_from_session(blob, split=split, owner=owner)


def test_session_verifier_recognises_only_its_token_and_session() -> None:
    stored = split_for("s1").verifier
    assert not split_for("s2").matches(stored)
    assert not split_for("s1", SecretBytes(b"l" * 32)).matches(stored)
    assert not split_for("s1").matches(b"")


def test_session_verifier_is_not_the_seal_key() -> None:
    split = split_for("s1")
    assert split.verifier != split.seal_key.reveal()


def test_a_blob_made_for_one_purpose_does_not_open_for_another() -> None:
    # The same key and the same uid everywhere, so that the purpose alone stands between them.
    split = split_for("anna")
    sealed = {
        "user": hierarchy.seal_user_key(PRIVATE, kek=KEK, owner="anna"),
        "link": hierarchy.seal_for_link(PRIVATE, secret=KEK, owner="anna"),
        "session": hierarchy.seal_for_session(PRIVATE, split=split, owner="anna"),
    }
    openings: dict[str, Callable[[bytes], SecretBytes]] = {
        "user": lambda blob: hierarchy.open_user_key(blob, kek=KEK, owner="anna"),
        "link": lambda blob: hierarchy.open_from_link(blob, secret=KEK, owner="anna"),
        "session": lambda blob: hierarchy.open_from_session(blob, split=split, owner="anna"),
    }
    for made_for, blob in sealed.items():
        for opened_as, opening in openings.items():
            if made_for == opened_as:
                assert opening(blob) == PRIVATE
            else:
                with pytest.raises(SealBroken):
                    opening(blob)


def test_sealing_under_the_session_seal_key_as_a_kek_is_still_told_apart() -> None:
    split = split_for("s1")
    blob = hierarchy.seal_user_key(PRIVATE, kek=split.seal_key, owner="anna")
    with pytest.raises(SealBroken):
        hierarchy.open_from_session(blob, split=split, owner="anna")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_never_sealed(length: int) -> None:
    cut = SecretBytes(b"x" * length)
    public = hierarchy.new_key_pair().public
    with pytest.raises(SealBroken):
        hierarchy.seal_user_key(cut, kek=KEK, owner="anna")
    with pytest.raises(SealBroken):
        hierarchy.seal_for_link(cut, secret=KEK, owner="anna")
    with pytest.raises(SealBroken):
        hierarchy.wrap_project_key(cut, holder_public=public, project="p")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_derives_nothing(length: int) -> None:
    cut = SecretBytes(b"x" * length)
    with pytest.raises(SealBroken):
        hierarchy.split_token_key(cut, session="s")
    with pytest.raises(SealBroken):
        hierarchy.split_master(cut)
    with pytest.raises(SealBroken):
        hierarchy.seal_for_link(PRIVATE, secret=cut, owner="anna")


def test_an_unnamed_owner_is_refused() -> None:
    with pytest.raises(InvalidInput):
        hierarchy.seal_user_key(PRIVATE, kek=KEK, owner="")


def test_values_do_not_show_their_secrets() -> None:
    shown = [
        repr(hierarchy.split_master(KEK)),
        repr(hierarchy.pair_of(PRIVATE)),
        repr(split_for("s1")),
    ]
    secrets = [
        hierarchy.split_master(KEK).kek,
        hierarchy.split_master(KEK).auth,
        PRIVATE,
        split_for("s1").seal_key,
    ]
    for text in shown:
        assert "***" in text
        for secret in secrets:
            assert repr(secret.reveal())[2:-1] not in text


def test_a_split_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(split_for("s1"))


def test_a_refusal_does_not_tell_the_keys() -> None:
    blob = hierarchy.seal_user_key(PRIVATE, kek=KEK, owner="anna")
    with pytest.raises(SealBroken) as refusal:
        hierarchy.open_user_key(blob, kek=SecretBytes(b"Z" * 32), owner="anna")
    assert "Z" not in str(refusal.value)
    assert refusal.value.__suppress_context__
    assert not refusal.value.facts
