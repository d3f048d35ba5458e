"""The program `raftbook`: the group of verbs, and the one place where a run ends.

Owns the root options and the way from any exception to an exit code. Must not know what a verb
does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .about import version_option
from .groups import LazyGroup
from .invocation import Invocation, common_options, pass_invocation
from .outcomes import MEANINGS, ExitCode, judge
from .output.printer import say

_COMPLETING = "_RAFTBOOK_COMPLETE"

_VERBS = {
    "init": "init:init",
    "node": "node:node",
    "demo": "demo:demo",
    "cluster": "cluster:cluster",
    "order": "order:order",
    "book": "book:book",
    "trades": "feed:trades",
    "candles": "candles:candles",
    "auction": "candles:auction",
    "events": "feed:events",
    "feed": "market_feed:feed",
    "top": "top:top",
    "instrument": "instrument:instrument",
    "account": "account:account",
    "currency": "account:currency",
    "day": "candles:day",
    "replay": "replay:replay",
    "bench": "bench.command:bench",
    "log": "log:log",
    "connect": "connect:connect",
    "config": "config_check:config_group",
    "completion": "about:completion",
    "version": "about:version",
}
"""Which module of this package holds a verb, and by what name."""

_EPILOG = "\b\nExit codes:\n" + "\n".join(
    f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items()
)


@click.group(
    cls=LazyGroup,
    places=_VERBS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common_options
@version_option
@pass_invocation
def cli(invocation: Invocation) -> None:
    """A limit order book replicated by Raft.

    \b
    raftbook demo                              a cluster and a market, on this machine
    raftbook init                              a cluster.toml of your own
    raftbook order buy BTC-USD 1@100           an order
    """
    # A wrong RAFTBOOK_OUTPUT must be told before anything is sent, not when it is to be shown.
    invocation.check_output()


def run(arguments: Sequence[str] | None = None, *, invocation: Invocation | None = None) -> int:
    """Runs one command line and returns its exit code; what it has to say is printed.

    Args:
        invocation: settings to begin with; a test gives one with its own client.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    invocation = invocation or Invocation()
    invocation.arguments = words
    try:
        cli.main(args=words, prog_name="raftbook", standalone_mode=False, obj=invocation)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted")
        return ExitCode.INTERRUPTED
    except SystemExit as end:
        # click ends so by itself in two cases: completion has answered, or the reader of a pipe,
        # such as head, has seen enough. The latter is no trouble.
        return int(end.code or 0) if _COMPLETING in os.environ else ExitCode.OK
    except Exception as error:
        code, line = judge(error, invocation)
        if line:
            say(f"raftbook: {line}")
        return code
    return ExitCode.OK


def main() -> None:
    """The entry point of the installed program."""
    sys.exit(run())


if __name__ == "__main__":
    main()
