"""The program `raftbook`: the group of verbs, and the one place where a run ends.

Owns the root options and the way from any exception to an exit code. Must not know what a verb
does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .about import completion, version, version_option
from .account import account, currency
from .bench.command import bench
from .book import book
from .candles import auction, candles, day
from .cluster import cluster
from .config_check import config_group
from .connect import connect
from .demo import demo
from .feed import events, trades
from .groups import VerbGroup
from .init import init
from .instrument import instrument
from .invocation import Invocation, common_options, pass_invocation
from .log import log
from .market_feed import feed
from .node import node
from .order import order
from .outcomes import MEANINGS, ExitCode, judge
from .output.printer import say
from .replay import replay
from .top import top

_COMPLETING = "_RAFTBOOK_COMPLETE"

_EPILOG = "\b\nExit codes:\n" + "\n".join(
    f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items()
)


@click.group(
    cls=VerbGroup,
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


for _verb in (
    init,
    node,
    demo,
    cluster,
    order,
    book,
    trades,
    candles,
    auction,
    events,
    feed,
    top,
    instrument,
    account,
    currency,
    day,
    replay,
    bench,
    log,
    connect,
    config_group,
    completion,
    version,
):
    cli.add_command(_verb)


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
