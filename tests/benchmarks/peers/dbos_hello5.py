"""hello5 on DBOS: `python dbos_hello5.py COUNT ALONE DATABASE_URL`, with the packages of the peers."""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib.metadata import version

import sqlalchemy
from dbos import DBOS


@DBOS.step()
def hello(city: str) -> str:
    return f"Hello {city}!"


@DBOS.workflow()
def hello5() -> list[str]:
    return [hello(city) for city in ("Tokyo", "Seattle", "London", "Paris", "Lima")]


def describe_durability(url: str) -> str:
    names = ("journal_mode", "synchronous") if url.startswith("sqlite") else ("fsync", "synchronous_commit")
    show = "PRAGMA" if url.startswith("sqlite") else "SHOW"
    with sqlalchemy.create_engine(url).connect() as connection:
        found = {name: connection.execute(sqlalchemy.text(f"{show} {name}")).scalar() for name in names}
    return "a transaction per step, " + ", ".join(f"{name} = {value}" for name, value in found.items())


def main() -> None:
    count, alone, url = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    DBOS.launch()
    logging.getLogger("dbos").setLevel(logging.ERROR)
    hello5()
    began = time.perf_counter()
    handles = [DBOS.start_workflow(hello5) for _ in range(count)]
    for handle in handles:
        assert len(handle.get_result()) == 5
    seconds = time.perf_counter() - began
    took = []
    for _ in range(alone):
        began = time.perf_counter()
        DBOS.start_workflow(hello5).get_result()
        took.append(time.perf_counter() - began)
    versions = f"dbos {version('dbos')}"
    print(json.dumps({"seconds": seconds, "alone": took, "version": versions, "durability": describe_durability(url)}))
    DBOS.destroy()


if __name__ == "__main__":
    main()
