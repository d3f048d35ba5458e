"""Listen keys: good at every node, for an hour from the last word of them, a day at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.web.binance.faults import Fault
from raftbook.web.binance.listen_keys import (
    ACCOUNTS_MAX,
    GOOD_MS,
    KEYS_MAX,
    LIFE_MS,
    ListenKeys,
)

SECRET = b"the secret of this cluster"
NOW = 1_700_000_000_000


def test_a_key_made_at_one_node_is_good_at_another_one() -> None:
    here, there = ListenKeys(SECRET), ListenKeys(SECRET)
    key = here.key_for("alice", NOW)
    assert there.account_of(key, NOW) == "alice"
    there.keep(key, "alice", NOW)
    assert ListenKeys(b"another cluster's secret").account_of(key, NOW) is None


def test_an_account_has_one_key_while_it_is_good() -> None:
    keys = ListenKeys(SECRET)
    key = keys.key_for("alice", NOW)
    assert keys.key_for("alice", NOW + GOOD_MS - 1) == key
    end = NOW + 2 * GOOD_MS - 1
    assert keys.account_of(key, end - 1) == "alice"
    assert keys.account_of(key, end) is None
    with pytest.raises(Fault) as caught:
        keys.keep(key, "alice", end)
    assert caught.value.code == -1125
    assert keys.key_for("alice", end) != key


def test_a_key_that_is_kept_alive_is_good_for_a_day_and_no_longer() -> None:
    keys = ListenKeys(SECRET)
    key = keys.key_for("alice", NOW)
    for half_hours in range(1, 48):
        keys.keep(key, "alice", NOW + half_hours * GOOD_MS // 2)
    assert keys.account_of(key, NOW + 24 * GOOD_MS - 1) == "alice"
    assert keys.account_of(key, NOW + 24 * GOOD_MS) is None
    assert LIFE_MS == 24 * GOOD_MS


def test_a_key_with_less_than_an_hour_to_live_is_followed_by_a_new_one() -> None:
    keys = ListenKeys(SECRET)
    key = keys.key_for("alice", NOW)
    for half_hours in range(1, 46):
        keys.keep(key, "alice", NOW + half_hours * GOOD_MS // 2)
    assert keys.key_for("alice", NOW + 23 * GOOD_MS) == key
    assert keys.key_for("alice", NOW + 23 * GOOD_MS + 1) != key


def test_an_ended_key_is_told_and_good_no_longer() -> None:
    keys = ListenKeys(SECRET)
    key, told = keys.key_for("alice", NOW), []
    keys.on_ended.append(told.append)
    with pytest.raises(Fault):
        keys.end(key, "bob", NOW)
    keys.end(key, "alice", NOW)
    assert told == [key]
    assert keys.account_of(key, NOW) is None
    assert keys.key_for("alice", NOW + 1) != key


def test_what_is_over_stays_over_whatever_others_do() -> None:
    keys = ListenKeys(SECRET)
    ended, silent = keys.key_for("alice", NOW), keys.key_for("carol", NOW)
    keys.end(ended, "alice", NOW)
    for number in range(ACCOUNTS_MAX + 50):
        keys.end(keys.key_for("bob", NOW + number), "bob", NOW + number)
    assert keys.account_of(ended, NOW + 1) is None
    assert keys.account_of(silent, NOW + GOOD_MS - 1) == "carol"
    assert keys.account_of(silent, NOW + GOOD_MS) is None


def test_what_is_over_stays_over_whatever_its_account_does() -> None:
    keys = ListenKeys(SECRET)
    kept, ended = keys.key_for("alice", NOW), []
    other_node = ListenKeys(SECRET)
    for number in range(1, 3 * KEYS_MAX):
        ended.append(other_node.key_for("alice", NOW + number))
        other_node.end(ended[-1], "alice", NOW + number)
        keys.end(ended[-1], "alice", NOW + number)
    later = NOW + 3 * KEYS_MAX
    assert [keys.account_of(key, later) for key in ended] == [None] * len(ended)
    assert keys.account_of(kept, later) == "alice"
    assert keys.account_of(other_node.key_for("alice", later), later) == "alice"


def test_an_ended_key_is_not_made_again_in_its_millisecond() -> None:
    keys = ListenKeys(SECRET)
    key = keys.key_for("alice", NOW)
    keys.end(key, "alice", NOW)
    assert keys.key_for("alice", NOW) != key
    assert keys.account_of(key, NOW) is None


def test_what_a_node_remembers_of_keys_is_bounded() -> None:
    keys = ListenKeys(SECRET)
    for number in range(ACCOUNTS_MAX + 50):
        keys.key_for(f"account {number}", NOW + number)
    for number in range(KEYS_MAX + 50):
        keys.end(keys.key_for("bob", NOW + number), "bob", NOW + number)
    assert len(keys._heard) == ACCOUNTS_MAX
    assert len(keys._heard["bob"].good_until) == KEYS_MAX


@given(st.text(max_size=120), st.integers(0, 70))
def test_nobody_can_make_a_key_up(text: str, at: int) -> None:
    keys = ListenKeys(SECRET)
    key = keys.key_for("alice", NOW)
    assert keys.account_of(text, NOW) is None
    at %= len(key) - 1
    other = key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1 :]
    assert keys.account_of(other, NOW) is None
