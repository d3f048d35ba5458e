"""The page in a real browser on a real cluster: trading, moving, dying nodes, small screens.

Each test opens the page anew. Those that stop a node start it again.
"""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.client import Client
from raftbook.core.types import Phase
from tests.e2e.browser import Browser, needs_chromium
from tests.e2e.cluster import Cluster

needs_chromium()

SYMBOL = "BTC-USD"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _as_found(shared: Cluster) -> Iterator[None]:
    """Every test finds all nodes up, a leader, and an empty book."""
    yield
    gone = [node_id for node_id in shared.ids if not shared.is_running(node_id)]
    if gone:
        shared.start(*gone)
        shared.wait_up()
        shared.wait_leader()
    for name in ("alice", "bob"):
        with _client(shared, name) as client:
            client.mass_cancel(SYMBOL)


def _client(cluster: Cluster, account: str) -> Client:
    return Client(cluster.client_ports(cluster.running[0]), account=account)


def _followers(cluster: Cluster) -> tuple[int, list[int]]:
    leader = cluster.wait_leader()
    return leader, [node_id for node_id in cluster.ids if node_id != leader]


def _is_up(browser: Browser, *node_ids: int) -> None:
    """Wait until the page has seen these nodes: only of those it can say that they are gone."""
    for node_id in node_ids:
        selector = f'[data-id="{node_id}"] .node[data-state="up"]'
        browser.sees(
            f"node {node_id} is up",
            lambda selector=selector: browser.run(
                "return !!document.querySelector(arguments[0])", selector
            ),
        )


def test_an_order_rests_is_marked_as_own_and_cancelled(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    browser.shows("spread", "empty book")
    browser.shows("chart-empty", "The first order makes the market")
    browser.place("buy", "2", "100.00")
    outcome = browser.shows("outcome", "rests in the book")
    assert "entry " in outcome
    assert "via node 1" in outcome
    assert " ms" in outcome
    browser.shows("bids", "100.00")
    browser.shows("spread", "no asks")
    browser.sees("one own order", lambda: len(browser.own_orders()) == 1)
    browser.sees("its mark", lambda: browser.run("return !!document.querySelector('[data-own]')"))
    browser.click("#orders button")
    browser.sees("no own order", lambda: not browser.own_orders())
    browser.shows("spread", "empty book")
    assert shared.books(SYMBOL)[1]["bids"] == ()
    assert browser.troubles() == []


def test_a_level_that_is_clicked_is_what_the_order_takes(shared: Cluster, browser: Browser) -> None:
    with _client(shared, "bob") as bob:
        bob.submit(SYMBOL, "sell", 3, "101.25")
    browser.open(shared, 1)
    browser.shows("asks", "101.25")
    browser.run("[...document.querySelectorAll('#asks .level')].at(-1).click()")
    assert browser.run("return document.getElementById('price').value") == "101.25"
    browser.type("#quantity", "1.5")
    browser.shows("estimate", "Trades at once, 101.25 on average")
    browser.press("\ue007")  # Enter
    browser.shows("outcome", "filled, 1.5 at 101.25")
    browser.shows("tape", "101.25")
    browser.shows("last", "101.25")
    browser.click("#tab-fills")
    fills = browser.shows("fills", "taker")
    assert "buy" in fills
    assert "1.5" in fills


def test_a_secret_signs_and_a_wrong_one_is_refused(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1, account="")
    browser.run("document.getElementById('account').open = true")
    for secret, words in (("guessed", "Refused"), ("carols secret", "rests in the book")):
        browser.run("document.getElementById('account').open = true")
        browser.type("#key", "carol")
        browser.type("#secret", secret)
        browser.click("#keys button")
        browser.place("buy", "1", "50.00")
        browser.shows("outcome", words)
    browser.sees("one own order", lambda: len(browser.own_orders()) == 1)
    browser.click("#orders button")
    browser.sees("no own order", lambda: not browser.own_orders())


def test_what_cannot_be_is_not_sent(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    before = shared.settle()
    browser.place("buy", "1.0001", "100.00")
    browser.shows("outcome", "Size must be a multiple of 0.001")
    browser.place("buy", "1", "100.001")
    browser.shows("outcome", "Price must be a multiple of 0.01")
    assert shared.settle()[1] == before[1]
    browser.place("buy", "1", "0.00")
    browser.shows("outcome", "Refused")


def test_keys_alone_place_an_order(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    browser.press("s")
    assert browser.run("return document.activeElement.id") == "price"
    browser.press("99.99")
    browser.press("\ue013")  # an arrow up: one tick
    assert browser.run("return document.activeElement.value") == "100.00"
    browser.press("\ue0041\ue007")  # Tab, a size, Enter
    browser.shows("outcome", "rests in the book")
    browser.shows("asks", "100.00")
    browser.shows("spread", "no bids")


def test_a_price_is_never_guessed(shared: Cluster, browser: Browser) -> None:
    with _client(shared, "bob") as bob:
        bob.submit(SYMBOL, "sell", 1, "101.25")
    browser.open(shared, 1)
    browser.shows("asks", "101.25")
    browser.type("#quantity", "1")
    browser.click("#place")
    browser.shows("outcome", "Type a price")
    browser.press("\ue013")  # an arrow up takes what the field suggests
    assert browser.run("return document.getElementById('price').value") == "101.25"


def test_signatures_are_those_of_the_library(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    samples = [(key * size, "x" * size + "ä€") for key in "kß" for size in (1, 55, 56, 63, 64, 200)]
    made = browser.driver.execute_async_script(
        "const [samples, done] = arguments; import('/page/sign.js').then("
        "sign => done(samples.map(([key, text]) => sign.hmac(key, text))))",
        samples,
    )
    assert made == [
        hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest() for key, text in samples
    ]


def test_numbers_are_exact(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    made = browser.driver.execute_async_script(
        "const done = arguments[0]; import('/page/numbers.js').then(({ Unit }) => { "
        "const cent = new Unit('0.01'), half = new Unit('0.5'), ten = new Unit('10'); done(["
        "cent.plain(9007199254740991), cent.plain(-7), cent.count('90071992547409.91'), "
        "cent.count('0.015'), cent.count('1e3'), half.count('1.50'), half.count('0.25'), "
        "ten.plain(3), ten.count('35'), cent.text(123456789).length]); })"
    )
    assert made == [
        "90071992547409.91", "-0.07", 9007199254740991, None, None, 3, None, "30", None, 12,
    ]  # fmt: skip


def test_another_node_is_chosen_and_trades(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    browser.sees(
        "node 2 may be chosen",
        lambda: browser.run("return !document.querySelector('[data-id=\"2\"] .node').disabled"),
    )
    browser.click('[data-id="2"] .node')
    browser.is_on(2)
    browser.shows("nodes", "Node 2")
    browser.place("buy", "1", "90.00")
    assert "via node 2" in browser.shows("outcome", "rests in the book")
    assert browser.troubles() == []


def test_the_log_is_told_without_names(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    browser.press("l")
    browser.place("buy", "1", "80.00")
    browser.shows("log", "buy 1.000 @ 80.00 rests")
    told = browser.run("return document.getElementById('log').outerHTML")  # its titles too
    assert "80.00" in told and "alice" not in told


def test_a_halt_is_told_and_nothing_is_sent(shared: Cluster, browser: Browser) -> None:
    browser.open(shared, 1)
    with _client(shared, "demo") as operator:
        operator.set_phase(SYMBOL, Phase.HALTED)
    try:
        browser.shows("banner", "Trading is halted")
        browser.shows("place", "BTC-USD is halted")
        assert browser.run("return document.getElementById('place').disabled")
    finally:
        with _client(shared, "demo") as operator:
            operator.set_phase(SYMBOL, Phase.CONTINUOUS)
    browser.shows("place", "Buy BTC")


def test_a_dead_leader_is_seen_and_trading_goes_on(shared: Cluster, browser: Browser) -> None:
    leader, (via, other) = _followers(shared)
    browser.open(shared, via)
    _is_up(browser, *shared.ids)
    shared.kill(leader)
    browser.noted(f"node {leader} does not answer")
    browser.sees(
        "another leader",
        lambda: browser.run(
            "return document.querySelectorAll('.node[data-role=leader]').length === 1 && "
            f"!document.querySelector('[data-id=\"{leader}\"] .node[data-role=leader]')"
        ),
    )
    browser.noted("leads term")
    browser.place("buy", "1", "70.00")
    browser.shows("outcome", "rests in the book")
    shared.start(leader)
    shared.wait_up()
    shared.wait_leader()
    browser.noted(f"node {leader} is back")
    browser.sees("the banner is gone", lambda: browser.text("banner") == "")
    assert other in shared.running


def test_a_page_outlives_its_node(shared: Cluster, browser: Browser) -> None:
    _, (here, _) = _followers(shared)
    browser.open(shared, here)
    _is_up(browser, *shared.ids)
    browser.run("document.body.dataset.same = 'yes'")
    shared.kill(here)
    browser.sees("another node", lambda: f"node {here}" not in browser.text("link-text"))
    browser.shows("link-text", "·")
    browser.place("buy", "1", "60.00")
    browser.shows("outcome", "rests in the book")
    assert browser.run("return document.body.dataset.same") == "yes"
    shared.start(here)
    shared.wait_up()
    shared.wait_leader()
    browser.noted(f"node {here} is back")


def test_no_leader_is_told_and_an_order_is_not_lost_from_sight(
    shared: Cluster, browser: Browser
) -> None:
    leader, (here, other) = _followers(shared)
    browser.open(shared, here)
    _is_up(browser, *shared.ids)
    shared.kill(leader)
    shared.kill(other)
    try:
        browser.shows("banner", "No leader in term")
        browser.place("buy", "1", "55.00")
        browser.sees(
            "an honest word",
            lambda: any(
                words in browser.text("outcome") for words in ("Not accepted", "Outcome unknown")
            ),
        )
        assert "rests" not in browser.text("outcome")
    finally:
        shared.start(leader, other)
        shared.wait_up()
        shared.wait_leader()
    browser.sees("the banner is gone", lambda: browser.text("banner") == "")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_telephone_shows_everything_in_one_column(
    shared: Cluster, browser: Browser, scheme: str, tmp_path: Path
) -> None:
    browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    browser.size(360, 740)
    try:
        browser.open(shared, 1)
        browser.place("buy", "1", "100.00")
        browser.shows("outcome", "rests in the book")
        wide = "return document.documentElement.scrollWidth - innerWidth"
        assert browser.run(wide) <= 0
        ground = browser.run("return getComputedStyle(document.body.parentElement).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 384) is (scheme == "dark")
        hidden = browser.run(
            "return ['ladder', 'chart', 'tape', 'form', 'orders', 'nodes'].filter("
            "id => !document.getElementById(id).getClientRects().length)"
        )
        assert hidden == []
        animated = "return getComputedStyle(document.querySelector('.flash-buy') ?? "
        animated += "document.body).animationName"
        assert browser.run(animated) == "none"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.prefer()
