"""`durable functions`: the triggers of functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import RunDurable

APP = '''"""Functions of an app."""

import durablecli as df

app = df.DFApp()


@app.route()
def anything(req): ...


@app.route(route="/orders/{id}", methods=["GET", "DELETE"])
def order(req): ...
'''


@pytest.mark.parametrize(("prefix", "begin"), [("api", "/api"), ("/V9/", "/v9"), ("/", "")])
def test_a_route_is_shown_with_its_methods_where_it_is_reached(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, begin: str
) -> None:
    monkeypatch.setenv("DURABLE_HTTP__ROUTE_PREFIX", prefix)
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "web.py").write_text(APP)
    out = durable("functions").out
    assert f"http any {begin}/anything " in out
    assert f"http GET,DELETE {begin}/orders/{{id}} " in out
