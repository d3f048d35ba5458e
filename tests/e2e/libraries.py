"""The libraries that trade at the HTTP port, imported past what they themselves are warned of."""

import warnings

with warnings.catch_warnings():
    # Some of them use what the libraries below them give up; that is theirs to change.
    warnings.simplefilter("ignore")
    import ccxt
    import ccxt.pro

    # python-binance and binance-connector share the package `binance`, each with an `__init__` of
    # its own: whichever was installed last is there, so nothing is taken from it.
    from binance.async_client import AsyncClient
    from binance.client import Client
    from binance.error import ClientError
    from binance.exceptions import BinanceAPIException
    from binance.spot import Spot
    from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient
    from binance.ws.depthcache import DepthCacheManager
    from binance.ws.reconnecting_websocket import ReconnectingWebsocket
    from binance.ws.streams import BinanceSocketManager
    from binance_sdk_spot.spot import ConfigurationRestAPI, ConfigurationWebSocketStreams
    from binance_sdk_spot.spot import Spot as SdkSpot

__all__ = [
    "AsyncClient",
    "BinanceAPIException",
    "BinanceSocketManager",
    "Client",
    "ClientError",
    "ConfigurationRestAPI",
    "ConfigurationWebSocketStreams",
    "DepthCacheManager",
    "ReconnectingWebsocket",
    "SdkSpot",
    "Spot",
    "SpotWebsocketStreamClient",
    "ccxt",
]
