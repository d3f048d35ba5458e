"""Every reason of the engine has its code and words at this door."""

import pytest

from raftbook.core.types import Reject
from raftbook.web.binance.door import MINUTE_NS, Weights
from raftbook.web.binance.faults import Fault, crowded, refused, unknown_outcome


@pytest.mark.parametrize("reason", list(Reject))
def test_every_reason_is_said_in_binances_codes(reason: Reject) -> None:
    fault = refused(reason)
    assert -2_999 < fault.code <= -1_000
    assert fault.msg
    assert fault.status in (400, 401, 429, 500, 503, 504)


@pytest.mark.parametrize(
    ("reason", "status", "code", "msg"),
    [
        (Reject.NO_LEADER, 503, -1001, "No leader is known; please try again."),
        (Reject.OVERLOADED, 429, -1003, "Too many requests queued."),
        (
            Reject.INSUFFICIENT_FUNDS,
            400,
            -2010,
            "Account has insufficient balance for requested action.",
        ),
        (Reject.POST_ONLY_WOULD_CROSS, 400, -2010, "Order would immediately match and take."),
        (Reject.INSTRUMENT_HALTED, 400, -2010, "Market is closed."),
        (Reject.DUPLICATE_CLIENT_ORDER_ID, 400, -2010, "Duplicate order sent."),
        (Reject.UNKNOWN_ORDER, 400, -2011, "Unknown order sent."),
        (Reject.TOO_LATE, 400, -2011, "Unknown order sent."),
        (Reject.UNKNOWN_INSTRUMENT, 400, -1121, "Invalid symbol."),
        (Reject.RATE_LIMIT, 429, -1015, "Too many new orders."),
        (Reject.QTY_TOO_LARGE, 400, -1013, "Filter failure: LOT_SIZE"),
        (Reject.BAD_PRICE, 400, -1013, "Filter failure: PRICE_FILTER"),
    ],
)
def test_words_that_clients_match(reason: Reject, status: int, code: int, msg: str) -> None:
    fault = refused(reason)
    assert (fault.status, fault.code, fault.msg) == (status, code, msg)


@pytest.mark.parametrize("reason", [Reject.OUTCOME_UNKNOWN, Reject.STALE_REQUEST])
def test_what_may_have_taken_effect_is_never_said_to_be_refused(reason: Reject) -> None:
    assert (refused(reason).status, refused(reason).code) == (504, -1007)
    assert refused(reason).msg == unknown_outcome().msg


def test_a_number_that_is_no_reason_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="9999"):
        refused(9_999)


def test_data_stands_beside_code_and_msg() -> None:
    fault = Fault(409, -2021, "partly", data={"cancelResult": "SUCCESS"})
    assert fault.document() == {
        "code": -2021,
        "msg": "partly",
        "data": {"cancelResult": "SUCCESS"},
    }


def test_who_is_refused_for_a_crowd_waits_a_second_and_for_weight_till_the_next_minute() -> None:
    assert crowded("no request weight in this").retry_after_s == 1
    assert refused(Reject.RATE_LIMIT).retry_after_s == 1
    weights = Weights(10)
    weights.take("address", 10, now_ns=5 * MINUTE_NS)
    with pytest.raises(Fault) as caught:
        weights.take("address", 1, now_ns=5 * MINUTE_NS + 13_000_000_000)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 47)
