"""The handshake of the peer port: who may speak, as whom, to whom, and only once."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.errors import ProtocolError
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import (
    MAGIC,
    NONCE_BYTES,
    VERSION,
    Acceptor,
    Dialer,
    PeerCard,
    Step,
)

SECRET = b"sixteen bytes or more"
ONE = PeerCard("c", "genesis", 1, "i1")
TWO = PeerCard("c", "genesis", 2, "i2")


def nonce(number: int) -> bytes:
    return bytes([number]) * NONCE_BYTES


def dialer(
    own: PeerCard = ONE, meant: int = 2, *, secret: bytes = SECRET, number: int = 1
) -> Dialer:
    return Dialer(secret, own, meant, nonce(number))


def acceptor(own: PeerCard = TWO, *, secret: bytes = SECRET, number: int = 2) -> Acceptor:
    return Acceptor(secret, own, nonce(number))


def sent(step: Step) -> bytes:
    assert step.send is not None
    return step.send


def proof_from(calling: Dialer, called: Acceptor) -> bytes:
    return sent(calling.receive(sent(called.receive(calling.hello()))))


def test_both_sides_learn_who_the_other_is() -> None:
    calling, called = dialer(), acceptor()
    accepted = called.receive(proof_from(calling, called))
    assert accepted.peer == ONE
    assert calling.receive(sent(accepted)).peer == TWO


def test_before_the_proof_the_acceptor_says_its_nonce_and_nothing_else() -> None:
    calling, called = dialer(), acceptor()
    assert unpack(sent(called.receive(calling.hello()))) == (nonce(2),)


def test_the_dialer_says_nothing_of_itself_before_the_challenge() -> None:
    assert unpack(dialer().hello()) == (MAGIC, VERSION, nonce(1))


def refused(called: Acceptor, frame: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=re.escape(reason)):
        called.receive(frame)


@pytest.mark.parametrize(
    ("calling", "reason"),
    [
        (dialer(secret=b"another secret......"), "does not prove the cluster secret"),
        (dialer(replace(ONE, cluster_id="d")), "belongs to cluster d"),
        (dialer(replace(ONE, genesis_digest="other")), "another genesis"),
        (dialer(meant=3), "looked for node 3, this is 2"),
        (dialer(replace(ONE, node_id=2)), "another process claims to be node 2"),
    ],
)
def test_a_dialer_that_does_not_fit_is_refused(calling: Dialer, reason: str) -> None:
    called = acceptor()
    refused(called, proof_from(calling, called), reason)


@pytest.mark.parametrize(
    ("called", "reason"),
    [
        (acceptor(replace(TWO, node_id=3)), "looked for node 2, this is 3"),
        (acceptor(replace(TWO, cluster_id="d")), "belongs to cluster c, this node to d"),
    ],
)
def test_an_acceptor_refuses_who_wanted_somebody_else(called: Acceptor, reason: str) -> None:
    refused(called, proof_from(dialer(), called), reason)


@pytest.mark.parametrize(
    ("called", "reason"),
    [
        (acceptor(secret=b"another secret......"), "does not prove the cluster secret"),
        (acceptor(replace(TWO, node_id=3)), "node 3 answers at the address of node 2"),
        (acceptor(replace(TWO, genesis_digest="other")), "another genesis"),
    ],
)
def test_a_dialer_refuses_an_acceptor_that_does_not_fit(called: Acceptor, reason: str) -> None:
    """The acceptor is bent to say WELCOME all the same: the dialer must not rely on it."""
    calling = dialer()
    challenge = called.receive(calling.hello())
    calling.receive(sent(challenge))
    from raftbook.wire import peer_session as session

    card = session._pack_card(called._own, 1)
    proof = session._proof(called._secret, b"acceptor", called._nonces, card)
    with pytest.raises(ProtocolError, match=re.escape(reason)):
        calling.receive(pack((proof, card)))


def test_a_proof_works_once() -> None:
    """An attacker has recorded HELLO and PROOF; the acceptor's nonce is new each time."""
    calling, called = dialer(), acceptor()
    hello, proof = calling.hello(), proof_from(calling, called)
    again = acceptor(number=3)
    again.receive(hello)
    refused(again, proof, "does not prove the cluster secret")


def test_a_welcome_works_once() -> None:
    calling, called = dialer(), acceptor()
    welcome = sent(called.receive(proof_from(calling, called)))
    again = dialer(number=5)
    again.receive(pack((nonce(2),)))
    with pytest.raises(ProtocolError, match="does not prove the cluster secret"):
        again.receive(welcome)


def test_a_proof_reflected_to_its_dialer_is_no_welcome() -> None:
    """An attacker without the secret plays the acceptor and sends everything back."""
    calling = dialer()
    proof = sent(calling.receive(pack((nonce(1),))))
    with pytest.raises(ProtocolError, match="does not prove the cluster secret"):
        calling.receive(proof)


def test_a_node_cannot_be_made_to_prove_itself_to_another_for_the_attacker() -> None:
    """1. the attacker is dialled by 1, who looks for 3; 2. it passes 2's challenge on; 3. the
    proof of 1 reaches 2: the card in it says that 3 was meant."""
    calling, called = dialer(meant=3), acceptor()
    refused(called, proof_from(calling, called), "looked for node 3")


def test_the_card_cannot_be_swapped() -> None:
    calling, called = dialer(), acceptor()
    proof, _ = unpack(proof_from(calling, called))
    other = pack(("c", "genesis", 3, 2, "i3"))
    refused(called, pack((proof, other)), "does not prove the cluster secret")


def test_the_roles_cannot_be_swapped() -> None:
    """A WELCOME is no PROOF, even over the same nonces and card."""
    from raftbook.wire import peer_session as session

    called = acceptor()
    called.receive(dialer().hello())
    card = session._pack_card(ONE, 2)
    proof = session._proof(SECRET, b"acceptor", nonce(1) + nonce(2), card)
    refused(called, pack((proof, card)), "does not prove the cluster secret")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        pack(("raftbook", VERSION, nonce(1))),
        pack((MAGIC, VERSION, b"short")),
        pack((MAGIC, VERSION, nonce(1) + b"x")),
        pack((MAGIC, True, nonce(1))),
        pack((MAGIC, VERSION)),
        pack({"magic": MAGIC}),
    ],
)
def test_no_hello_gets_no_answer(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        acceptor().receive(frame)


def test_another_version_is_named() -> None:
    frame = pack((MAGIC, VERSION + 1, nonce(1)))
    refused(acceptor(), frame, f"peer protocol {VERSION + 1}; this build speaks {VERSION}")


def test_a_challenge_of_another_length_is_refused() -> None:
    with pytest.raises(ProtocolError, match="wrong length"):
        dialer().receive(pack((b"short",)))


@given(st.binary(max_size=200))
def test_whatever_comes_is_refused_cleanly(frame: bytes) -> None:
    called = acceptor()
    called.receive(dialer().hello())
    for receive in (called.receive, acceptor().receive, dialer().receive):
        with pytest.raises(ProtocolError):
            receive(frame)
