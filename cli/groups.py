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
