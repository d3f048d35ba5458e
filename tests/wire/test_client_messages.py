"""The messages between a client and a node: their form is checked before anybody reads them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.errors import ProtocolError
from raftbook.wire import client_messages as m
from raftbook.wire.entry import pack_request, read_request
from raftbook.wire.packing import pack, unpack
from tests.wire.samples import CLIENT_MESSAGES
from tests.wire.values import ANY_BYTES, DEEP, VALUES

KINDS = st.integers(0, 16)
ANY_MESSAGE = st.tuples(KINDS, st.lists(VALUES, max_size=9)).map(lambda pair: (pair[0], *pair[1]))


@pytest.mark.parametrize("name", CLIENT_MESSAGES)
def test_a_message_of_every_kind_is_read_as_it_was_sent(name: str) -> None:
    message = CLIENT_MESSAGES[name]
    assert m.read_message(pack(message)) == message


@given(ANY_BYTES | ANY_MESSAGE.map(pack) | VALUES.map(pack))
def test_any_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    try:
        message = m.read_message(payload)
    except ProtocolError as error:
        assert len(str(error)) < 300  # noqa: PT017
        return
    assert message == unpack(payload)
    assert message[0] in range(m.HELLO, m.REPLY_PAGE + 1)


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.lists(VALUES, max_size=4).map(tuple))
def test_the_request_in_a_frame_is_the_packed_request(
    session_id: int, request_seq: int, commands: Any
) -> None:
    payload = pack((m.REQUEST, session_id, request_seq, commands))
    assert m.packed_request(payload) == pack_request(session_id, request_seq, commands)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdc\x00\x04\x05\x03\x01\x91\x91\x01",
        b"\xdd\x00\x00\x00\x04\xcc\x05\x03\x01\x91\x91\x01",
        b"\x94\x05\xd3\x00\x00\x00\x00\x00\x00\x00\x03\xd1\x00\x01\xdc\x00\x01\x91\x01",
    ],
    ids=["long head", "longer head", "long fields"],
)
def test_a_frame_in_any_other_form_holds_the_same_request(payload: bytes) -> None:
    assert m.read_message(payload) == (m.REQUEST, 3, 1, ((1,),))
    assert read_request(m.packed_request(payload)) == (3, 1, ((1,),))


@pytest.mark.parametrize("deep", DEEP, ids=len)
@pytest.mark.parametrize("start", [b"", b"\x92\x0d", b"\x94\x08\x01\xa1x", b"\x94\x05\x01\x01"])
def test_deep_nesting_is_a_message_or_a_protocol_error(start: bytes, deep: bytes) -> None:
    try:
        m.read_message(start + deep)
    except ProtocolError as error:
        assert len(str(error)) < 300  # noqa: PT017


@given(st.sampled_from(sorted(CLIENT_MESSAGES)), st.integers(0, 8), VALUES)
def test_a_field_of_a_wrong_type_is_refused(name: str, at: int, value: Any) -> None:
    message = CLIENT_MESSAGES[name]
    place = 1 + at % (len(message) - 1)
    if type(value) is type(message[place]) or (name in ("RESULT", "PUSH") and place == 2):
        return
    changed = (*message[:place], value, *message[place + 1 :])
    with pytest.raises(ProtocolError):
        m.read_message(pack(changed))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "a message is an array that starts with its kind"),
        ((), "a message is an array that starts with its kind"),
        ((True, 1), "a message is an array that starts with its kind"),
        (("HELLO", 1, "x"), "a message is an array that starts with its kind"),
        ((0,), "unknown message kind 0"),
        ((16, 1), "unknown message kind 16"),
        ((2**64 - 1,), "unknown message kind 18446744073709551615"),
        ((13,), "message kind 13 has 1 fields, not 0"),
        ((13, 1, 2), "message kind 13 has 1 fields, not 2"),
        ((13, True), "message kind 13: True is of a wrong type"),
        ((13, math.nan), "message kind 13: nan is of a wrong type"),
        ((13, "x" * 9_999), "message kind 13: 'xxxxx"),
        ((5, 1, 1.5, ()), "message kind 5: 1.5 is of a wrong type"),
    ],
    ids=str,
)
def test_the_refusal_says_what_is_wrong(value: Any, says: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        m.read_message(pack(value))
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 120


def test_a_proof_is_bound_to_account_secret_and_connection() -> None:
    proof = m.login_proof("secret", "alice", b"nonce")
    assert len(proof) == 32
    others = [
        m.login_proof("secret2", "alice", b"nonce"),
        m.login_proof("secret", "alicf", b"nonce"),
        m.login_proof("secret", "alice", b"nonc2"),
    ]
    assert proof not in others
