"""Clients of a raftbook cluster: `Client` blocks, `AsyncClient` does not; same verbs, no Raft.

    from raftbook.client import Client

    with Client([("127.0.0.1", 7101), ("127.0.0.1", 7102)], account="demo") as client:
        result = client.submit("BTC-USD", "buy", "0.5", "101.25")
        print(result.ord_status, result.avg_price)

Start reading at `flow.py`: what happens to a request when the world fails.
"""

from raftbook.client.aio import AsyncClient
from raftbook.client.aio_stream import AsyncDepthSubscription, AsyncSubscription
from raftbook.client.depth import DepthBook
from raftbook.client.rejects import Refused, explain_reject
from raftbook.client.results import order_results
from raftbook.client.sync import Client
from raftbook.client.sync_stream import DepthSubscription, Subscription
from raftbook.client.values import (
    InstrumentSpec,
    OrderPair,
    OrderRequest,
    OrderResult,
    RequestReply,
    TradeResult,
)
from raftbook.client.venue_views import (
    AccountHead,
    AccountView,
    AuctionView,
    BalanceView,
    Candle,
    CandlesView,
    CurrencyView,
    Fill,
    FillsView,
)
from raftbook.client.views import (
    BookLevel,
    BookOrder,
    BookView,
    MarketTrade,
    OrderView,
    TradesView,
)

__all__ = [
    "AccountHead",
    "AccountView",
    "AsyncClient",
    "AsyncDepthSubscription",
    "AsyncSubscription",
    "AuctionView",
    "BalanceView",
    "BookLevel",
    "BookOrder",
    "BookView",
    "Candle",
    "CandlesView",
    "Client",
    "CurrencyView",
    "DepthBook",
    "DepthSubscription",
    "Fill",
    "FillsView",
    "InstrumentSpec",
    "MarketTrade",
    "OrderPair",
    "OrderRequest",
    "OrderResult",
    "OrderView",
    "Refused",
    "RequestReply",
    "Subscription",
    "TradeResult",
    "TradesView",
    "explain_reject",
    "order_results",
]
