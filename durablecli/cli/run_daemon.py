"""`durable run-daemon`: runs the engine in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from durablecli.cli.clients import HubChoice
from durablecli.cli.options import app_option, engine_option, format_exit_codes, state_dir_option
from durablecli.cli.output import echo
from durablecli.errors import UsageError
from durablecli.os_signals import SignalHandler

if TYPE_CHECKING:
    from durablecli.config import Config


@click.command(
    "run-daemon",
    epilog=format_exit_codes(
        "0 stopped or idle", "2 usage error", "65 damaged or newer hub", "74 storage error", "75 hub locked",
        "77 no permission", "78 invalid durable.yaml, or no function loads",
        "130 Ctrl-C while loading modules, or twice", "143 SIGTERM twice",
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
@engine_option
@click.option(
    "--grpc",
    is_flag=False,
    flag_value="127.0.0.1:4001",
    metavar="[HOST:]PORT",
    help="Serve the hub to the SDKs of Durable Task, in any language. Default: 127.0.0.1:4001.",
)
@state_dir_option
def command(
    app: tuple[str, ...],
    until_idle: bool,
    replay_always: bool,
    http: str | None,
    engine: str | None,
    grpc: str | None,
    state_dir: str | None,
) -> int:
    """Run the engine in the foreground.

    With --engine, run the functions of the app as a worker of that engine instead: it keeps the state.

    Ctrl-C lets running activities finish; press it again to exit immediately. Nothing is lost either way.
    """
    with SignalHandler(echo) as signals:  # before the slow imports
        config = HubChoice(state_dir, engine).load_settings(app)
        if config.engine is not None:
            refused = {
                "--until-idle": until_idle,
                "--replay-always": replay_always,
                "--http": http is not None,
                "--grpc": grpc is not None,
            }
            return _work(config, config.engine, [flag for flag, given in refused.items() if given], signals)
        from durablecli.daemon.foreground import serve

        return serve(
            config,
            state_dir=config.state_dir,
            until_idle=until_idle,
            replay_always=replay_always or config.replay_always,
            listen=http,
            listen_grpc=grpc,
            echo=echo,
            signals=signals,
        )


def _work(config: Config, engine: str, refused: list[str], signals: SignalHandler) -> int:
    """Run as a worker of another engine."""
    if refused:
        verb = "needs" if len(refused) == 1 else "need"
        raise UsageError(
            f"{' and '.join(refused)} {verb} the engine of a hub: leave out --engine, and engine: in the settings"
        )
    from durablecli.daemon.worker_foreground import work_for_engine

    return work_for_engine(config, engine, echo=echo, signals=signals)
