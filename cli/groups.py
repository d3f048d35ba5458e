"""The groups of verbs: without a verb they say what there is, which is no error."""

from __future__ import annotations

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
