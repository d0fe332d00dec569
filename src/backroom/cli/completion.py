"""`backroom completion`."""

from __future__ import annotations

import click

from backroom.cli.commands import COMPLETE, Command

__all__ = ["completion"]


@click.command(cls=Command, short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, job types and queues in a shell.

    \b
    bash:  echo 'eval "$(backroom completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(backroom completion zsh)"' >> ~/.zshrc
    fish:  backroom completion fish > ~/.config/fish/completions/backroom.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from backroom.cli.output import printing, say

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "backroom", COMPLETE)
    with printing():
        # Not by way of `kind.source`, which starts a shell to ask for its version.
        say(ShellComplete.source(script))
