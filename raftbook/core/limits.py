"""The bounds of the replicated state: part of the genesis, since they change outcomes."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds that change outcomes, hence equal on every node (part of the genesis)."""

    sessions_max: int = 10_000
    sessions_per_account_max: int = 1_000
    session_idle_ns: int = 86_400_000_000_000
    reply_window: int = 1_024
    closed_orders_max: int = 1_000
    open_orders_max: int = 200_000
    book_orders_max: int = 2_000_000
    accounts_max: int = 10_000
    instruments_max: int = 1_000
    trades_kept: int = 1_000
    session_recent_ns: int = 60_000_000_000
    """A session active within this time is never given up for a new one."""
    fills_max: int = 10_000
    """Orders that one sweep meets, and trades of the stops that it fires; what all sweeps and dry
    runs of an entry may do is a multiple of it (docs/MATCHING.md, "Bounds of one command")."""
    stops_max: int = 10_000
    """Stops that wait in one instrument."""
    triggers_max: int = 1_000
    """Stops that fire after one command, half of what may in one entry; the others fire with the
    next ones."""
    cancel_page: int = 1_000
    """Orders that a mass cancel ends at once; the others end with the next entries."""
    expiries_page: int = 5_000
    """Orders whose time has come, and orders of days that were rolled, that one entry ends."""
    transfers_kept: int = 10_000
    """Transfer ids remembered by one account."""
    currencies_max: int = 1_000
    api_keys_max: int = 16
    """API keys of one account."""
    drop_copies_max: int = 16
    """Accounts that may read the reports of one."""
    auction_page: int = 10_000
    """Trades of auctions, and orders that they end, in one entry; they go on with the next."""
    pegs_max: int = 1_000
    """Pegged orders of one instrument, each of which may have to be looked at after a command."""
    pegs_page: int = 1_000
    """Pegged orders of one instrument that move in one entry; the others follow with the next."""
    hidden_max: int = 10_000
    """Hidden orders that rest in one instrument: who asks for the best price that shows may have
    to look past all of them."""
