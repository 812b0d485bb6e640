"""Crawls web sites: every page once, and at most five requests a second to each host."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

import durablecli as df

LINK = re.compile(r"<a\s[^>]*?href=[\"']([^\"']+)", re.IGNORECASE)
RETRY = df.RetryPolicy(first="2s", max_attempts=4, coefficient=2, non_retryable=[ValueError])
PAGES_PER_EXECUTION = 500  # then a new execution begins, with an empty history


@dataclass
class Crawl:
    """What to crawl, and how far it has come."""

    start: list[str]
    "The first pages. Links to other hosts are not followed."
    max_pages: int = 10_000
    todo: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


def host(url: str) -> str:
    return urlsplit(url).hostname or ""


@df.resource
def open_client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20) as client:
        yield client


@df.activity(rate="5/s", key=host, retry=RETRY)
def fetch(url: str, client: httpx.Client = df.Depends(open_client)) -> list[str]:
    """Save a page, and return the addresses that it links to."""
    answer = client.get(url)
    if answer.status_code == 429:
        raise df.RetryAfter(float(answer.headers.get("Retry-After", 60)))
    if answer.has_redirect_location:
        return [urljoin(url, answer.headers["Location"])]
    if answer.is_client_error:
        raise ValueError(f"{answer.status_code} {answer.reason_phrase}")
    answer.raise_for_status()
    pages = Path("pages")
    pages.mkdir(exist_ok=True)
    (pages / f"{sha256(url.encode()).hexdigest()[:16]}.html").write_bytes(answer.content)
    return [urldefrag(urljoin(url, link)).url for link in LINK.findall(answer.text)]


@df.orchestrator
def crawl(context: df.DurableOrchestrationContext, state: Crawl):
    hosts = {host(url) for url in state.start}
    if not state.seen:
        state.todo, state.seen = list(state.start), set(state.start)
    running: dict[df.Task[list[str]], str] = {}
    left = PAGES_PER_EXECUTION
    while running or (state.todo and left):
        for url in state.todo[:left]:
            running[context.call_activity(fetch, url, name=url)] = url
        started = len(state.todo[:left])
        state.todo, left = state.todo[started:], left - started
        done = yield context.task_any(list(running))
        url = running.pop(done)
        if done.is_faulted:
            state.failed[url] = done.result.failure.message
            continue
        for link in done.result:
            if host(link) in hosts and link not in state.seen and len(state.seen) < state.max_pages:
                state.seen.add(link)
                state.todo.append(link)
        context.progress(len(state.seen) - len(state.todo) - len(running), len(state.seen), "pages")
    if state.todo:
        context.continue_as_new(state)
    return {"pages": len(state.seen) - len(state.failed), "failed": state.failed}
