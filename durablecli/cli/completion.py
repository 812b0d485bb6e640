"""`durable completion`: prints the script that lets a shell complete commands, options and ids."""

from __future__ import annotations

import click

from durablecli.cli.options import format_exit_codes

SHELLS = ("bash", "zsh", "fish")
_BASH_WORD_BREAKS = "COMP_WORDBREAKS=${COMP_WORDBREAKS//@/}"
"""bash splits words at @, and would complete the parts of @counter@a separately."""


@click.command("completion", epilog=format_exit_codes("0 done", "2 usage error"))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a shell completion script.

    \b
    eval "$(durable completion bash)"   in ~/.bashrc
    eval "$(durable completion zsh)"    in ~/.zshrc, after compinit
    durable completion fish | source    in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click supports these shells"
    script = kind(ctx.find_root().command, {}, "durable", "_DURABLE_COMPLETE")
    if shell == "bash":
        click.echo(_BASH_WORD_BREAKS)
    click.echo(script.source_template % script.source_vars())
