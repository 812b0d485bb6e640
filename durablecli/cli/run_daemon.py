"""`durable run-daemon`: runs the engine in the foreground."""

from __future__ import annotations

import click

from durablecli.cli.options import app_option, format_exit_codes, load_settings, state_dir_option
from durablecli.cli.output import echo
from durablecli.os_signals import SignalHandler


@click.command(
    "run-daemon",
    epilog=format_exit_codes(
        "0 stopped or idle", "2 usage error", "65 damaged or newer hub", "74 storage error", "75 hub locked",
        "77 no permission", "78 invalid durable.yaml, or no function loads", "130 Ctrl-C while loading modules",
    ),
)  # fmt: skip
@app_option
@click.option("--until-idle", is_flag=True, help="Exit when the engine waits only for timers or events.")
@click.option("--replay-always", is_flag=True, help="Replay every turn instead of keeping instances in memory.")
@click.option(
    "--http",
    is_flag=False,
    flag_value="127.0.0.1:7071",
    metavar="[HOST:]PORT",
    help="Serve the HTTP API and the HTTP functions of the app. Default: 127.0.0.1:7071.",
)
@state_dir_option
def command(
    app: tuple[str, ...], until_idle: bool, replay_always: bool, http: str | None, state_dir: str | None
) -> int:
    """Run the engine in the foreground.

    Ctrl-C lets running activities finish; press it again to exit immediately. Nothing is lost either way.
    """
    with SignalHandler(echo) as signals:  # before the slow imports
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
