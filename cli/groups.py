"""The groups of verbs: without a verb they say what there is, which is no error."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class VerbGroup(click.Group):
    """A group whose name alone prints its help, on stdout, with exit code 0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


class DefaultVerbGroup(VerbGroup):
    """A group that is a verb itself: what begins with none of its verbs is for `default`."""

    default = "show"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_for_group = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if is_for_group else [self.default, *args])


class LazyGroup(VerbGroup):
    """A group that loads a verb when it is asked for: all of them take as long as most verbs do."""

    def __init__(self, *args: Any, places: Mapping[str, str], **kwargs: Any) -> None:
        """
        Args:
            places: verb to "module:name", the module's path within this package.
        """
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._places:
            return self._load(cmd_name)
        # It is misspelled: click looks among these for what was meant.
        self.commands = {verb: self._load(verb) for verb in self._places}
        return None

    def _load(self, verb: str) -> click.Command:
        module, name = self._places[verb].split(":")
        command = getattr(import_module(f".{module}", __package__), name)
        assert isinstance(command, click.Command), verb
        return command
