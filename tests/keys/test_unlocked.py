"""An opened key: only from a seal, only for its own, and never on show."""

import copy
import pickle

import pytest

from ddsd.errors import SealBroken
from ddsd.keys import hierarchy
from ddsd.keys.unlocked import Unlocked, unlock_by_kek, unlock_by_link, unlock_by_session
from ddsd.secret import SecretBytes

KEK = SecretBytes(b"k" * 32)
ANNA = hierarchy.new_key_pair()
PROJECT = hierarchy.new_key_pair()


def anna_unlocked() -> Unlocked:
    blob = hierarchy.seal_user_key(ANNA.private, kek=KEK, owner="anna")
    return unlock_by_kek(blob, kek=KEK, user_uid="anna")


def wrapped_for(public: bytes, project: str = "p1") -> bytes:
    return hierarchy.wrap_project_key(PROJECT.private, holder_public=public, project=project)


def test_there_is_none_without_a_seal() -> None:
    with pytest.raises(TypeError):
        Unlocked()


def test_password_unlocks_the_users_key() -> None:
    unlocked = anna_unlocked()
    assert (unlocked.user_uid, unlocked.public) == ("anna", ANNA.public)
    assert unlocked.open_project_key(wrapped_for(ANNA.public), "p1") == PROJECT.private


def test_another_password_or_user_unlocks_nothing() -> None:
    blob = hierarchy.seal_user_key(ANNA.private, kek=KEK, owner="anna")
    with pytest.raises(SealBroken):
        unlock_by_kek(blob, kek=SecretBytes(b"l" * 32), user_uid="anna")
    with pytest.raises(SealBroken):
        unlock_by_kek(blob, kek=KEK, user_uid="bo")


def test_project_key_of_another_holder_or_project_stays_shut() -> None:
    unlocked = anna_unlocked()
    with pytest.raises(SealBroken):
        unlocked.open_project_key(wrapped_for(hierarchy.new_key_pair().public), "p1")
    with pytest.raises(SealBroken):
        unlocked.open_project_key(wrapped_for(ANNA.public), "p2")


def test_session_sealed_at_login_unlocks_later_requests() -> None:
    token_key = hierarchy.new_secret()
    row = anna_unlocked().seal_for_session(hierarchy.split_token_key(token_key, session="s1"))
    split = hierarchy.split_token_key(token_key, session="s1")
    unlocked = unlock_by_session(row, split=split, user_uid="anna")
    assert unlocked.open_project_key(wrapped_for(ANNA.public), "p1") == PROJECT.private


def test_session_row_moved_to_another_user_or_session_unlocks_nothing() -> None:
    token_key = hierarchy.new_secret()
    split = hierarchy.split_token_key(token_key, session="s1")
    row = anna_unlocked().seal_for_session(split)
    with pytest.raises(SealBroken):
        unlock_by_session(row, split=split, user_uid="bo")
    with pytest.raises(SealBroken):
        unlock_by_session(
            row, split=hierarchy.split_token_key(token_key, session="s2"), user_uid="anna"
        )


def test_new_password_opens_the_same_key() -> None:
    new = SecretBytes(b"n" * 32)
    blob = anna_unlocked().seal_for_password(new)
    assert unlock_by_kek(blob, kek=new, user_uid="anna").public == ANNA.public
    with pytest.raises(SealBroken):
        unlock_by_kek(blob, kek=KEK, user_uid="anna")


def test_an_invites_keys_move_to_the_user_without_wrapping_again() -> None:
    invite, secret = hierarchy.new_key_pair(), hierarchy.new_secret()
    wrapped = wrapped_for(invite.public)
    in_the_row = hierarchy.seal_for_link(invite.private, secret=secret, owner="invite-3")

    arriving = unlock_by_link(in_the_row, secret=secret, owner="invite-3", user_uid="anna")
    of_the_user = arriving.seal_for_password(KEK)

    unlocked = unlock_by_kek(of_the_user, kek=KEK, user_uid="anna")
    assert unlocked.open_project_key(wrapped, "p1") == PROJECT.private


def test_another_link_unlocks_nothing() -> None:
    row = hierarchy.seal_for_link(ANNA.private, secret=KEK, owner="invite-3")
    with pytest.raises(SealBroken):
        unlock_by_link(row, secret=hierarchy.new_secret(), owner="invite-3", user_uid="anna")
    with pytest.raises(SealBroken):
        unlock_by_link(row, secret=KEK, owner="invite-4", user_uid="anna")


def test_it_shows_whose_it_is_and_not_what() -> None:
    unlocked = anna_unlocked()
    assert repr(unlocked) == str(unlocked) == "Unlocked(user_uid='anna', ***)"
    assert not hasattr(unlocked, "__dict__")


def test_it_is_neither_pickled_nor_copied() -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(anna_unlocked())
