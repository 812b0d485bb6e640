"""`durable functions`: what starts the functions that nobody calls, in the words of the daemon."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Durable

APP = '''"""Functions of an app."""

import durablecli as df

app = df.DFApp()


@app.route()
def anything(req): ...


@app.route(route="/orders/{id}", methods=["GET", "DELETE"])
def order(req): ...
'''


def test_a_route_is_shown_with_its_methods(durable: Durable, here: Path) -> None:
    (here / "workflows").mkdir()
    (here / "workflows" / "web.py").write_text(APP)
    out = durable("functions").out
    assert "http any /" in out
    assert "http GET,DELETE /" in out
