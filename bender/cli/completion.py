"""Print the completion scripts that click makes for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from bender.cli.click_base import BenderCommand


@click.command(
    cls=BenderCommand,
    examples="""
    bender completion bash > ~/.local/share/bash-completion/completions/bender
    bender completion zsh > "${fpath[1]}/_bender"
    bender completion fish > ~/.config/fish/completions/bender.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL", help="One of bash, zsh and fish.")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    click.echo(kind(root, {}, "bender", "_BENDER_COMPLETE").source())
