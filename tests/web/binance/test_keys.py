"""Who signs: the bytes as they came, the time in them, and whose key it is."""

import hashlib
import hmac
from pathlib import Path

import pytest

from raftbook.core.commands import create_account, set_api_key
from raftbook.web.binance.keys import signed_bytes, signed_text
from tests.web.house import Answer, House, in_the_house

BOBS = b"bobs secret"
KEY = {"X-MBX-APIKEY": "bob"}


def signature(payload: bytes, secret: bytes = BOBS) -> bytes:
    return b"signature=" + hmac.new(secret, payload, hashlib.sha256).hexdigest().encode()


def stamp(house: House, ahead_ms: int = 0) -> bytes:
    return b"timestamp=%d" % (int(house.door.now * 1_000) + ahead_ms)


@pytest.mark.parametrize(
    ("query", "body", "payload"),
    [
        (b"a=1&signature=x", b"", b"a=1"),
        (b"signature=x&a=1", b"", b"a=1"),
        (b"a=1&signature=x&b=2", b"", b"a=1&b=2"),
        (b"a=1", b"b=2&signature=x", b"a=1b=2"),
        (b"signature=x", b"b=2", b"b=2"),
        (b"unsignature=y&signature=x", b"", b"unsignature=y"),
        (b"a=%20b+c", b"", b"a=%20b+c"),
        (b"", b"", b""),
    ],
)
def test_what_is_signed_is_query_and_body_without_the_signature(
    query: bytes, body: bytes, payload: bytes
) -> None:
    assert signed_bytes(query, body) == payload


def test_what_ws_api_signs_is_sorted() -> None:
    params = {"timestamp": 5, "symbol": "BTCUSD", "signature": "x", "flag": True, "price": "1.50"}
    assert signed_text(params) == b"flag=true&price=1.50&symbol=BTCUSD&timestamp=5"


def test_signatures_in_query_body_and_both_are_taken(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        order = b"symbol=BTCUSD&side=BUY&type=MARKET&quantity=1"
        when = stamp(house)
        whole = order + b"&" + when
        for query, body in (
            (whole + b"&" + signature(whole), b""),
            (b"", whole + b"&" + signature(whole)),
            (order, when + b"&" + signature(order + when)),
            (signature(whole), whole),
            (whole + b"&" + signature(whole).upper().replace(b"SIGNATURE", b"signature"), b""),
        ):
            answer = await house.ask("POST", "/api/v3/order/test", query, body, KEY)
            assert (answer.status, answer.body) == (200, {}), (query, body)

    in_the_house(tmp_path, scene)


def test_bytes_are_checked_as_they_came(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        odd = b"omitZeroBalances=%66alse&" + stamp(house)
        answer = await house.ask("GET", "/api/v3/account", odd + b"&" + signature(odd), b"", KEY)
        assert answer.status == 200
        plain = odd.replace(b"%66", b"f")
        answer = await house.ask("GET", "/api/v3/account", odd + b"&" + signature(plain), b"", KEY)
        assert answer.code == -1022

    in_the_house(tmp_path, scene)


async def account(house: House, text: bytes, key: str | None = "bob") -> Answer:
    headers = {} if key is None else {"X-MBX-APIKEY": key}
    return await house.ask("GET", "/api/v3/account", text, b"", headers)


def test_who_is_not_let_in(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        now = stamp(house)
        good = now + b"&" + signature(now)
        assert (await account(house, good)).status == 200
        for answer, status, code, words in (
            (await account(house, good, None), 401, -2014, "API-key format invalid."),
            (await account(house, good, "nobody"), 401, -2015, "Invalid API-key"),
            (await account(house, now), 400, -1102, "'signature'"),
            (await account(house, signature(b"")), 400, -1102, "'timestamp'"),
            (await account(house, now + b"&" + signature(now, b"else")), 400, -1022, "not valid"),
            (await account(house, now + b"&signature=AAECAwQ%3D"), 400, -1022, "not valid"),
            (await account(house, now + b"&signature=%C3%A9"), 400, -1022, "not valid"),
        ):
            assert (answer.status, answer.code) == (status, code), answer.body
            assert words in answer.body["msg"]

    in_the_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("ahead_ms", "window", "code"),
    [
        (0, b"", None),
        (-5_000, b"", None),
        (-5_001, b"", -1021),
        (999, b"", None),
        (1_000, b"", -1021),
        (-60_000, b"&recvWindow=60000", None),
        (-1, b"&recvWindow=0", -1021),
        (-20, b"&recvWindow=20.5", None),
        (0, b"&recvWindow=60001", -1131),
        (0, b"&recvWindow=x", -1100),
    ],
)
def test_a_request_is_as_old_as_its_window_allows(
    tmp_path: Path, ahead_ms: int, window: bytes, code: int | None
) -> None:
    async def scene(house: House) -> None:
        text = stamp(house, ahead_ms) + window
        answer = await account(house, text + b"&" + signature(text))
        assert answer.body.get("code") == code, answer.body

    in_the_house(tmp_path, scene)


def test_a_timestamp_may_count_microseconds(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.door.now = 1_795_000_000.0
        house.door.lead()
        text = b"timestamp=%d" % int(house.door.now * 1_000_000)
        assert (await account(house, text + b"&" + signature(text))).status == 200

    in_the_house(tmp_path, scene)


def test_an_api_key_of_the_log_is_its_accounts(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("bob", set_api_key("bob", "bobs-key", "key-secret"))
        text = stamp(house)
        answer = await account(house, text + b"&" + signature(text, b"key-secret"), "bobs-key")
        assert answer.status == 200
        answer = await account(house, text + b"&" + signature(text, BOBS), "bobs-key")
        assert answer.code == -1022
        await house.native("bob", set_api_key("bob", "bobs-key", ""))
        answer = await account(house, text + b"&" + signature(text, b"key-secret"), "bobs-key")
        assert answer.code == -2015

    in_the_house(tmp_path, scene)


def test_an_account_goes_before_an_api_key_of_its_name(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("alice", set_api_key("alice", "bob", "key-secret"))
        assert (await house.signed("GET", "/account", "bob")).status == 200
        text = stamp(house)
        answer = await account(house, text + b"&" + signature(text, b"key-secret"))
        assert answer.code == -1022

    in_the_house(tmp_path, scene)


def test_an_account_made_later_may_name_its_own_key_like_itself(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", create_account("carol"))
        await house.native("demo", set_api_key("carol", "carol", "hers"))
        text = stamp(house)
        signed = text + b"&" + signature(text, b"hers")
        assert (await account(house, signed, "carol")).status == 200
        assert (await account(house, text + b"&signature=any", "carol")).code == -1022

    in_the_house(tmp_path, scene)


def test_an_account_without_a_secret_takes_any_signature(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        text = stamp(house) + b"&signature=whatever"
        assert (await account(house, text, "alice")).status == 200
        assert (await account(house, text, "bob")).code == -1022

    in_the_house(tmp_path, scene)


def test_an_account_made_later_is_called_by_its_keys_once_it_has_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("demo", create_account("carol"))
        text = stamp(house)
        assert (await account(house, text + b"&signature=any", "carol")).status == 200
        await house.native("demo", set_api_key("carol", "carols-key", "hers"))
        assert (await account(house, text + b"&signature=any", "carol")).code == -2015
        signed = text + b"&" + signature(text, b"hers")
        assert (await account(house, signed, "carol")).code == -2015
        assert (await account(house, signed, "carols-key")).status == 200

    in_the_house(tmp_path, scene)


def test_a_barrier_is_written_for_whoever_proves_to_be_an_account(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.native("bob", set_api_key("bob", "bobs-key", "key-secret"))
        fresh = b"symbol=BTCUSD&consistency=linearizable"
        signed = fresh + b"&" + stamp(house)
        for query, key, code in (
            (fresh, None, -2014),
            (fresh, "nobody", -2015),
            (fresh, "bob", -1102),
            (signed + b"&" + signature(signed, b"else"), "bob", -1022),
            (signed + b"&" + signature(signed), "bob", None),
            (fresh, "bobs-key", None),
            (fresh, "alice", None),
        ):
            before = house.exchange.applied_index
            headers = {} if key is None else {"X-MBX-APIKEY": key}
            answer = await house.ask("GET", "/api/v3/depth", query, b"", headers)
            assert answer.body.get("code") == code, (query, key)
            written = house.exchange.applied_index - before
            assert written == (1 if code is None else 0)

    in_the_house(tmp_path, scene)
