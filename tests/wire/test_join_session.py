"""A new machine asks for the configuration: who has no secret, or only listens, learns nothing."""

from __future__ import annotations

import pytest

from raftbook.errors import ProtocolError
from raftbook.wire.join_session import JoinAcceptor, JoinAnswer, Joiner
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import Acceptor, PeerCard

SECRET = b"the secret of the cluster"
ANSWER = JoinAnswer("", 'name = "demo"\nsecret = "s3cret"\n' * 50)
NONCES = bytes(32), bytes(range(32))


def talk(joiner: Joiner, secret: bytes = SECRET) -> tuple[bytes, JoinAnswer]:
    """The last frame and what the joiner reads in it."""
    acceptor = Acceptor(secret, PeerCard("demo", "00", 1, "ff"), NONCES[1])
    challenge = acceptor.receive(joiner.hello()).send
    assert challenge is not None
    proof = joiner.receive(challenge)
    assert isinstance(proof, bytes)
    assert acceptor.receive(proof).joiner == 4
    last = acceptor.join_answer(ANSWER)
    answer = joiner.receive(last)
    assert isinstance(answer, JoinAnswer)
    return last, answer


def test_a_machine_with_the_secret_gets_the_configuration() -> None:
    last, answer = talk(Joiner(SECRET, 4, NONCES[0]))
    assert answer == ANSWER
    assert b"s3cret" not in last and b"demo" not in last


def test_a_machine_without_the_secret_gets_nothing() -> None:
    with pytest.raises(ProtocolError, match="does not prove the cluster secret"):
        talk(Joiner(b"another secret of a cluster", 4, NONCES[0]))


def test_the_same_answer_is_enciphered_anew_each_time() -> None:
    first, _ = talk(Joiner(SECRET, 4, bytes(32)))
    second, _ = talk(Joiner(SECRET, 4, bytes([1]) * 32))
    assert first != second


def test_an_answer_that_was_changed_or_is_an_older_one_is_refused() -> None:
    older, _ = talk(Joiner(SECRET, 4, bytes([1]) * 32))
    proof, sealed = unpack(older)
    for wrong in (older, pack((proof, sealed[:-1] + bytes([sealed[-1] ^ 1])))):
        joiner = Joiner(SECRET, 4, NONCES[0])
        joiner.receive(JoinAcceptor(SECRET, NONCES[0], NONCES[1]).challenge())
        with pytest.raises(ProtocolError, match="the member does not prove"):
            joiner.receive(wrong)


@pytest.mark.parametrize("frame", [(), (1,), (b"", 4), (b"x" * 32, "4"), (b"x" * 32, 4, 4)])
def test_a_proof_of_another_form_is_refused(frame: tuple[object, ...]) -> None:
    with pytest.raises(ProtocolError):
        JoinAcceptor(SECRET, *NONCES).receive(pack(frame))
