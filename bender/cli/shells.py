"""Completion in shells, which click knows how to do."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Print what makes a SHELL complete commands and options.

    \b
    bash    bender completion bash > ~/.local/share/bash-completion/completions/bender
    zsh     bender completion zsh > "${fpath[1]}/_bender"
    fish    bender completion fish > ~/.config/fish/completions/bender.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    click.echo(kind(root, {}, "bender", "_BENDER_COMPLETE").source())
