"""`durable dev`: runs the engine with HTTP and the dashboard, and reloads changed code."""

from __future__ import annotations

import click

from durablecli.cli.clients import HubChoice, refuse_engine
from durablecli.cli.options import app_option, format_exit_codes, state_dir_option
from durablecli.cli.output import echo
from durablecli.os_signals import SignalHandler

_DEFAULT_LISTEN = "127.0.0.1:7071"


@click.command(
    "dev",
    epilog=format_exit_codes(
        "0 stopped", "2 usage error", "65 damaged or newer hub", "74 storage error", "75 hub locked",
        "77 no permission", "78 invalid durable.yaml, or no app", "130 Ctrl-C while loading modules, or twice",
        "143 SIGTERM twice",
    ),
)  # fmt: skip
@app_option
@click.option(
    "--listen",
    metavar="[HOST:]PORT",
    help=f"Address of the HTTP API and the dashboard. Default: http.listen in durable.yaml, else {_DEFAULT_LISTEN}.",
)
@state_dir_option
def command(app: tuple[str, ...], listen: str | None, state_dir: str | None) -> int:
    """Run the engine with the HTTP API and the dashboard, and reload changed code.

    A saved file is live at once, and nothing is interrupted: running activities finish with the old code, and
    orchestrations continue with the new one. While a file can't be loaded, the code before it still runs. Instances
    that the code before had blocked resume by themselves.

    Ctrl-C lets running activities finish; press it again to exit immediately. Nothing is lost either way.
    """
    with SignalHandler(echo) as signals:  # before the slow imports
        config = HubChoice(state_dir).load_settings(app)
        refuse_engine(config)
        from durablecli.daemon.foreground import serve

        return serve(
            config,
            state_dir=config.state_dir,
            listen=listen or (None if config.http.listen is not None else _DEFAULT_LISTEN),
            reload=True,
            echo=echo,
            signals=signals,
        )
