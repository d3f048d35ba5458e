"""`raftbook version` and `raftbook completion`: the program about itself."""

from __future__ import annotations

import platform

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from raftbook import __version__
from raftbook.core.build import KIND

from .invocation import Invocation, common_options, pass_invocation

_COMPLETIONS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_INSTALL = {
    "bash": 'eval "$(raftbook completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(raftbook completion zsh)"   in ~/.zshrc',
    "fish": "raftbook completion fish > ~/.config/fish/completions/raftbook.fish",
}


_VERSION_LINE = f"raftbook {__version__} (Python {platform.python_version()}, {KIND} core)"

version_option = click.version_option(__version__, message=_VERSION_LINE, help="Print the version.")
"""`raftbook --version`, for whoever does not know the verb."""


@click.command()
@common_options
@pass_invocation
def version(invocation: Invocation) -> None:
    """Print the version."""
    document = {"version": __version__, "python": platform.python_version(), "core": KIND}
    invocation.printer.show(document, table=lambda: _VERSION_LINE)


@click.command(
    help="Print the script that completes verbs and options.\n\n\b\n"
    + "\n".join(f"{shell:<6}{how}" for shell, how in _INSTALL.items())
)
@click.argument("shell", type=click.Choice(tuple(_COMPLETIONS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    root = ctx.find_root()
    complete = _COMPLETIONS[shell](root.command, {}, "raftbook", "_RAFTBOOK_COMPLETE")
    script = complete.source_template % complete.source_vars()
    click.echo(script.rstrip())
