"""The site builds without a warning, needs no network, and describes everything that is public."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from html import unescape
from pathlib import Path

import click
import msgspec
import pytest

import durablecli
import durablecli.testing
from durablecli.cli import durable
from durablecli.config import Config
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def text_of(page: Path) -> str:
    """The text of a built page without its markup."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_the_search_index_is_part_of_the_site(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].split("#")[0] for entry in index["docs"] if "continue_as_new" in entry["text"]}
    assert {"orchestrations.html", "patterns.html"} <= found
    assert (site / "search" / "search_index.js").exists()  # for pages that are opened from the disk
    for page in site.glob("*.html"):
        html = page.read_text(encoding="utf-8")
        (worker,) = re.findall(r'"search": ?"([^"]+)"', html)
        assert (site / worker.lstrip("/")).exists()
        assert "assets/iframe-worker.js" in html


def test_every_public_name_is_in_the_api_reference(site: Path) -> None:
    html = (site / "api.html").read_text(encoding="utf-8")
    names = [f"durablecli.{name}" for name in durablecli.__all__]
    names += [f"durablecli.testing.{name}" for name in durablecli.testing.__all__]
    identifiers = set(re.findall(r'id="(durablecli\.[\w.]+)"', html))
    headings = {identifier.rpartition(".")[2] for identifier in identifiers}
    assert [name for name in names if name.rpartition(".")[2] not in headings] == []


def test_every_command_is_described(site: Path) -> None:
    usages = set(re.findall(r"^durable ([a-z-]+) (?:\[OPTIONS\]|COMMAND)", text_of(site / "cli.html"), re.MULTILINE))
    assert [name for name in durable.list_commands(click.Context(durable)) if name not in usages] == []


def test_every_setting_is_described(site: Path) -> None:
    text = text_of(site / "configuration.html")
    fields = [field.name for field in msgspec.structs.fields(Config) if field.name not in ("base", "project")]
    assert [name for name in fields if name not in text] == []
    assert "concurrency.process_workers" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", '<script src="https://cdn.example/a.js"></script>'),
        ("page.html", '<link rel="stylesheet" href="//fonts.example/css">'),
        ("page.html", '<img src="http://example.com/badge.svg">'),
        ("page.html", "<style>@import 'https://fonts.example/css';</style>"),
        ("page.html", '<p style="background: url(https://example.com/a.png)">'),
        ("page.html", '<pre class="mermaid"></pre>'),
        ("style.css", "@font-face { src: url(https://fonts.example/a.woff2) }"),
        ("script.js", 'load("https://cdn.example/a.js")'),
    ],
)
def test_a_resource_on_another_host_is_found(tmp_path: Path, name: str, text: str) -> None:
    external_resources = runpy.run_path(str(ROOT / "docs" / "hooks" / "offline.py"))["external_resources"]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [file for file, _ in external_resources(tmp_path)] == [name]


def test_a_link_and_a_resource_of_the_site_are_no_external_resources(tmp_path: Path) -> None:
    external_resources = runpy.run_path(str(ROOT / "docs" / "hooks" / "offline.py"))["external_resources"]
    page = '<link rel="canonical" href="https://example.com/"><a href="https://example.com/"></a><script src="a.js">'
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    assert list(external_resources(tmp_path)) == []
