"""What a subscriber may say on a stream's connection, and how it is told that it may not.

Owns the form of control frames and of their answers; texts are Binance's, since clients match them.
Pure: what a request does is the connection's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_PARAMS_MAX: Final = {"LIST_SUBSCRIPTIONS": 0, "SET_PROPERTY": 2, "GET_PROPERTY": 1}
_ID: Final = re.compile(r"[A-Za-z0-9_\-]{0,36}")
_INT64: Final = 2**63
_EXPECTED: Final = ", ".join(f"`{method}`" for method in METHODS)
_BAD_ID: Final = "Invalid request: request ID must be an unsigned integer"
_NO_NAME: Final = "Invalid request: property name must be a string"
INVALID_STREAM: Final = "Invalid request: invalid stream"
TOO_MANY_STREAMS: Final = "Invalid request: too many streams"

RequestId = int | str | None


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """One request in good form.

    Attributes:
        names: of SUBSCRIBE and UNSUBSCRIBE.
        combined: of SET_PROPERTY.
    """

    id: RequestId
    method: str
    names: tuple[str, ...] = ()
    combined: bool = False


class ControlError(Exception):
    """A frame that is no request.

    Attributes:
        answer: what its sender is told.
    """

    def __init__(self, code: int, message: str, request_id: RequestId = None) -> None:
        super().__init__(message)
        self.answer = error_answer(code, message, request_id)


def error_answer(code: int, message: str, request_id: RequestId) -> str:
    """A refusal."""
    return json.dumps({"error": {"code": code, "msg": message}, "id": request_id})


def result_answer(result: Any, request_id: RequestId) -> str:
    """What was asked for; None where something was to be done."""
    return json.dumps({"result": result, "id": request_id})


def read_control(text: str) -> ControlRequest:
    """The request of a frame.

    Raises:
        ControlError: it is none.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        message = f"Invalid JSON: expected value at line {error.lineno} column {error.colno}"
        raise ControlError(3, message) from error
    except (RecursionError, ValueError) as error:
        raise ControlError(3, "Invalid JSON: expected value at line 1 column 1") from error
    if not isinstance(value, dict):
        raise ControlError(2, "Invalid request: expected an object at line 1 column 1")
    request_id = _id_of(value)
    method = value.get("method")
    if "method" not in value:
        where = f"line 1 column {len(text)}"
        raise ControlError(2, f"Invalid request: missing field `method` at {where}", request_id)
    if not isinstance(method, str) or method not in METHODS:
        shown = json.dumps(method)[:64].strip('"')
        message = f"Invalid request: unknown variant `{shown}`, expected one of {_EXPECTED}"
        raise ControlError(2, f"{message} at line 1 column 28", request_id)
    return _read_params(request_id, method, value.get("params"))


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _id_of(value: dict[str, Any]) -> RequestId:
    found = value.get("id")
    if found is None or (type(found) is int and -_INT64 <= found < _INT64):
        return found
    if isinstance(found, str) and _ID.fullmatch(found):
        return found
    raise ControlError(2, _BAD_ID)


def _read_params(request_id: RequestId, method: str, params: Any) -> ControlRequest:
    given = [] if params is None else params
    if not isinstance(given, list):
        raise ControlError(2, "Invalid request: params must be an array", request_id)
    if len(given) > _PARAMS_MAX.get(method, len(given)):
        raise ControlError(2, "Invalid request: too many parameters", request_id)
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        if not given or not all(isinstance(name, str) for name in given):
            raise ControlError(2, INVALID_STREAM, request_id)
        return ControlRequest(request_id, method, tuple(given))
    if method == "LIST_SUBSCRIPTIONS":
        return ControlRequest(request_id, method)
    if not given or not isinstance(given[0], str):
        raise ControlError(2, _NO_NAME, request_id)
    if given[0] != "combined":
        raise ControlError(0, "Unknown property", request_id)
    if method == "GET_PROPERTY":
        return ControlRequest(request_id, method)
    if len(given) != 2 or not isinstance(given[1], bool):
        raise ControlError(1, "Invalid value type: expected Boolean", request_id)
    return ControlRequest(request_id, method, combined=given[1])
