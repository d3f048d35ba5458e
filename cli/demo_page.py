"""The page of a demo: where it is, as whom one trades there, and whether it can be opened.

Owns the address and the browser. Must not know the story.
"""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from importlib.util import find_spec
from typing import Final

from raftbook.config import ClusterConfig

VISITOR: Final = "you"
"""The account of whoever looks at the page: it has no secret and the balances of a bot."""
NO_PAGE: Final = "install it with: pip install 'raftbook[gateway]'"


def page_url(config: ClusterConfig, node_id: int) -> str | None:
    """Where a node's page is, with the account to trade as; None if there is none."""
    from raftbook.node_web import NEEDED  # loads Raft, which no plain client needs

    address = config.node(node_id)
    if not address.http_port or any(find_spec(name) is None for name in NEEDED):
        return None
    return f"http://{address.host}:{address.http_port}/#account={VISITOR}"


def has_screen() -> bool:
    """Whether a browser that is opened here is seen by whoever started this."""
    if os.environ.get("CI") or os.environ.get("SSH_CONNECTION"):
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_page(url: str) -> None:
    """Open the browser beside everything else: some take seconds to start."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
