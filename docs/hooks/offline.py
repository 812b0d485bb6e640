"""Build check: no page, style sheet or script of the site loads anything from another host."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

log = logging.getLogger("mkdocs.hooks.offline")

_ADDRESS = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)
_JS = re.compile(r"[\"'`](https?://[^\"'`\s]+)[\"'`]")
_SOURCES = {"src", "srcset", "data", "poster"}
_LINKS = {"alternate", "canonical", "next", "prev"}  # relations that a browser only notes

# Addresses in the theme's script that no page of this site makes it load.
_UNUSED = {
    "https://unpkg.com/mermaid@11/dist/mermaid.min.js": "pages have no mermaid blocks: see `_check_page`",
    "https://unpkg.com/resize-observer-polyfill": "only for browsers of before 2020",
    "https://api.github.com/repos/": "only with `repo_url`",
    "https://api.github.com/users/": "only with `repo_url`",
}


class _Page(HTMLParser):
    """Collects the addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        sources = [value for name, value in values.items() if name in _SOURCES]
        if tag == "link" and values.get("rel") not in _LINKS:
            sources.append(values.get("href", ""))
        self.found += [source for source in sources if _ADDRESS.match(source)]
        self.found += _CSS.findall(values.get("style", ""))
        if "mermaid" in values.get("class", "").split():
            self.found.append("a mermaid diagram")


def external_resources(site: Path) -> Iterator[tuple[str, str]]:
    """Yield each file of a built site with an address on another host that it loads."""
    for path in sorted(site.rglob("*")):
        if path.suffix not in (".html", ".css", ".js", ".svg"):
            continue
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(site))
        for address in _addresses(path.suffix, text, name):
            yield name, address


def _addresses(suffix: str, text: str, name: str) -> list[str]:
    if suffix == ".html":
        page = _Page()
        page.feed(text)
        return page.found + [
            one for style in re.findall(r"<style.*?</style>", text, re.S) for one in _CSS.findall(style)
        ]
    if suffix == ".js":
        # The search index is text; everything else is code.
        return [] if name.endswith("search_index.js") else [one for one in _JS.findall(text) if one not in _UNUSED]
    return _CSS.findall(text)


def on_post_build(config: Any) -> None:
    """Warn of each external resource; with `strict` a warning fails the build."""
    for name, address in external_resources(Path(config["site_dir"])):
        log.warning("%s loads %s: the site must not need a network", name, address)
