"""The crawler as a task of Celery. It needs Redis, and `celery --app crawler_celery worker --concurrency 20`.

`start("night", ["https://a.example/"])` begins a crawl, and `report("night")` tells how far it has come.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
from celery import Celery, Task
from redis import Redis

LINK = re.compile(r"<a\s[^>]*?href=[\"']([^\"']+)", re.IGNORECASE)
OPEN, DONE = "open", "done"

app = Celery("crawler", broker="redis://localhost")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,  # what a killed worker was doing runs again
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
)
redis = Redis(decode_responses=True)
client = httpx.Client(timeout=20)

# Celery's rate_limit counts in each worker, and for all hosts together. This counts for each host in all workers: five
# may begin within any second. It returns how many seconds to wait, and counts the caller if that is 0.
take_turn = redis.register_script("""
    local time = redis.call('TIME')
    local now = time[1] + time[2] / 1000000
    redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - 1)
    if redis.call('ZCARD', KEYS[1]) < 5 then
        redis.call('ZADD', KEYS[1], now, ARGV[1])
        redis.call('EXPIRE', KEYS[1], 2)
        return '0'
    end
    return tostring(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] + 1 - now)
""")


class TryLater(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:g} s")
        self.seconds = seconds


def host(url: str) -> str:
    return urlsplit(url).hostname or ""


def download(url: str) -> list[str]:
    """Save a page, and return the addresses that it links to."""
    answer = client.get(url)
    if answer.status_code == 429:
        raise TryLater(float(answer.headers.get("Retry-After", 60)))
    if answer.has_redirect_location:
        return [urljoin(url, answer.headers["Location"])]
    if answer.is_client_error:
        raise ValueError(f"{answer.status_code} {answer.reason_phrase}")
    answer.raise_for_status()
    pages = Path("pages")
    pages.mkdir(exist_ok=True)
    (pages / f"{sha256(url.encode()).hexdigest()[:16]}.html").write_bytes(answer.content)
    return [urldefrag(urljoin(url, link)).url for link in LINK.findall(answer.text)]


@app.task(bind=True, max_retries=None)
def fetch(self: Task, crawl: str, url: str, attempt: int = 1) -> None:
    pages = f"crawl:{crawl}:pages"
    if redis.hget(pages, url) not in (None, OPEN):
        return  # another delivery of this message has done it
    wait = float(take_turn(keys=[f"rate:{host(url)}"], args=[f"{self.request.id} {self.request.retries}"]))
    if wait > 0:
        raise self.retry(countdown=wait)
    try:
        links = download(url)
    except Exception as error:
        if isinstance(error, ValueError) or attempt == 4:
            redis.hset(pages, url, str(error))
            return
        seconds = error.seconds if isinstance(error, TryLater) else 2**attempt
        raise self.retry(args=(crawl, url, attempt + 1), countdown=seconds) from error
    add(crawl, links)
    redis.hset(pages, url, DONE)


def add(crawl: str, urls: list[str]) -> None:
    """Fetch what is new. A page is queued before it is noted, so a kill in between loses none."""
    pages, hosts = f"crawl:{crawl}:pages", f"crawl:{crawl}:hosts"
    limit = int(redis.get(f"crawl:{crawl}:limit") or 0)
    for url in dict.fromkeys(urls):
        if redis.sismember(hosts, host(url)) and not redis.hexists(pages, url) and redis.hlen(pages) < limit:
            fetch.delay(crawl, url)
            redis.hsetnx(pages, url, OPEN)


def start(crawl: str, urls: list[str], max_pages: int = 10_000) -> None:
    redis.set(f"crawl:{crawl}:limit", max_pages)
    redis.sadd(f"crawl:{crawl}:hosts", *map(host, urls))
    add(crawl, urls)


def report(crawl: str) -> dict[str, Any]:
    """How many pages are open and done, and why the others have failed. At the end none is open."""
    pages = redis.hgetall(f"crawl:{crawl}:pages")
    states = list(pages.values())
    failed = {url: state for url, state in pages.items() if state not in (OPEN, DONE)}
    return {"open": states.count(OPEN), "pages": states.count(DONE), "failed": failed}
