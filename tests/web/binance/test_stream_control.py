"""Control frames: the right answer to each, whatever they hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.web.binance.stream_control import (
    METHODS,
    ControlError,
    ControlRequest,
    read_control,
)


def _refusal(text: str) -> Any:
    with pytest.raises(ControlError) as caught:
        read_control(text)
    answer = json.loads(caught.value.answer)
    return (answer["error"]["code"], answer["error"]["msg"], answer["id"])


def test_requests_in_good_form() -> None:
    assert read_control('{"method":"SUBSCRIBE","params":["a@trade","b@depth"],"id":1}') == (
        ControlRequest(1, "SUBSCRIBE", ("a@trade", "b@depth"))
    )
    assert read_control('{"method":"LIST_SUBSCRIPTIONS","id":"x-1"}') == (
        ControlRequest("x-1", "LIST_SUBSCRIPTIONS")
    )
    assert read_control('{"method":"SET_PROPERTY","params":["combined",true],"id":null}') == (
        ControlRequest(None, "SET_PROPERTY", combined=True)
    )
    assert read_control('{"method":"GET_PROPERTY","params":["combined"],"id":-5}') == (
        ControlRequest(-5, "GET_PROPERTY")
    )


EXPECTED = (
    "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, "
    "`GET_PROPERTY` at line 1 column 28"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", (3, "Invalid JSON: expected value at line 1 column 2", None)),
        ("", (3, "Invalid JSON: expected value at line 1 column 1", None)),
        ("[" * 10_000, (3, "Invalid JSON: expected value at line 1 column 1", None)),
        ("[1]", (2, "Invalid request: expected an object at line 1 column 1", None)),
        ('{"id":1}', (2, "Invalid request: missing field `method` at line 1 column 8", 1)),
        (
            '{"method":"SUBSCRIB","id":1}',
            (2, f"Invalid request: unknown variant `SUBSCRIB`, {EXPECTED}", 1),
        ),
        (
            '{"method":"SUBSCRIBE","params":[],"id":true}',
            (2, "Invalid request: request ID must be an unsigned integer", None),
        ),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', (2, "Invalid request: invalid stream", 1)),
        ('{"method":"SUBSCRIBE","params":[],"id":1}', (2, "Invalid request: invalid stream", 1)),
        (
            '{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":1}',
            (2, "Invalid request: too many parameters", 1),
        ),
        (
            '{"method":"GET_PROPERTY","params":[1],"id":1}',
            (2, "Invalid request: property name must be a string", 1),
        ),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', (0, "Unknown property", 1)),
        (
            '{"method":"SET_PROPERTY","params":["combined",1],"id":1}',
            (1, "Invalid value type: expected Boolean", 1),
        ),
    ],
)
def test_each_mistake_has_its_words(text: str, expected: tuple[int, str, int | None]) -> None:
    assert _refusal(text) == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
FRAMES = st.one_of(
    ANYTHING,
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from(METHODS) | ANYTHING,
            "params": st.lists(ANYTHING, max_size=4) | ANYTHING,
            "id": st.integers() | st.text(max_size=40) | ANYTHING,
        },
    ),
)


@given(FRAMES.map(json.dumps) | st.text(max_size=99))
def test_any_frame_is_a_request_or_gets_an_answer(text: str) -> None:
    try:
        request = read_control(text)
    except ControlError as error:
        answer = json.loads(error.answer)
        assert answer["error"]["code"] in (0, 1, 2, 3)
        assert answer["error"]["msg"]
    else:
        assert request.method in METHODS
