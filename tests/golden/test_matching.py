"""The transcripts of tests/golden, engine and twin alike: each feature, the order of refusals, and
worked examples that venues have published, with what is otherwise here."""

from pathlib import Path

import pytest

from tests.golden.transcript import check_or_rewrite, play

HERE = Path(__file__).parent
TRANSCRIPTS = sorted((*(HERE / "matching").glob("*.txt"), *(HERE / "venues").glob("*.txt")))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_the_market_says_what_the_transcript_says(path: Path) -> None:
    check_or_rewrite(path)


@pytest.mark.parametrize("name", ["rejects.txt", "rejects_whole.txt"])
def test_refusals_come_in_their_order_of_precedence(name: str) -> None:
    check_or_rewrite(HERE / name)


def test_a_word_that_is_not_understood_is_an_error() -> None:
    for line in ("buy B1 5 @ 100 soon", "buy B1 5", "sell S1 5 @ 100 trail x", "bust", "wait 5"):
        with pytest.raises((AssertionError, ValueError)):
            play(f"market whole\n\n{line}\n")


def test_a_changed_answer_is_noticed() -> None:
    assert play("sell S1 5 @ 101\n----\nS1 rests 4 @ 101\n") == (
        "sell S1 5 @ 101\n----\nS1 rests 5 @ 101\n"
    )
