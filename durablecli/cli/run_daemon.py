"""`durable run-daemon`: the engine in the foreground."""

from __future__ import annotations

import click

from durablecli.cli.options import app_option, format_exit_codes, load_settings, state_dir_option
from durablecli.cli.output import echo
from durablecli.signals import SignalHandler


@click.command(
    "run-daemon",
    epilog=format_exit_codes(
        "0 drained, or idle", "2 usage", "65 damaged or newer hub", "74 storage error", "75 hub locked",
        "77 no permission", "78 durable.yaml is wrong, or no function loads", "130 Ctrl-C while loading the modules",
    ),
)  # fmt: skip
@app_option
@click.option("--until-idle", is_flag=True, help="Exit when nothing can move without a timer or an event.")
@click.option("--replay-always", is_flag=True, help="Replay on every turn instead of keeping live instances.")
@click.option(
    "--http",
    is_flag=False,
    flag_value="127.0.0.1:7071",
    metavar="[HOST:]PORT",
    help="Answer HTTP as well: the management API, and the app's HTTP functions. Alone: 127.0.0.1:7071.",
)
@state_dir_option
def command(
    app: tuple[str, ...], until_idle: bool, replay_always: bool, http: str | None, state_dir: str | None
) -> int:
    """Run the engine in the foreground. Ctrl-C drains, a second one ends at once; nothing is lost either way."""
    with SignalHandler(echo) as signals:  # before the imports, which take a while
        from durablecli.daemon.foreground import serve

        config = load_settings(state_dir, app)
        return serve(
            config,
            state_dir=config.state_dir,
            until_idle=until_idle,
            replay_always=replay_always or config.replay_always,
            listen=http,
            echo=echo,
            signals=signals,
        )
