"""The door for software that was written for Binance's spot API. See docs/HTTP.md."""
