"""The links by which an instance is managed, as Durable Functions gives them out.

They carry a `code` only when a key is in force: without one anybody who reaches the server may ask anyway.
"""

from __future__ import annotations

from urllib.parse import quote

BASE = "/runtime/webhooks/durabletask"


def instance_link(origin: str, instance: str, rest: str = "", code: str | None = None) -> str:
    """One link; `rest` is what follows the instance id, with its query."""
    link = f"{origin}{BASE}/instances/{quote(instance, safe='')}{rest}"
    if code is None:
        return link
    return f"{link}{'&' if '?' in rest else '?'}code={quote(code, safe='')}"


def check_status(origin: str, instance: str, code: str | None = None) -> dict[str, str]:
    """The body of a 202: all links of an instance but the one to rewind it, in the order of Durable Functions."""
    found = management(origin, instance, code)
    del found["rewindPostUri"]
    return found


def management(origin: str, instance: str, code: str | None = None) -> dict[str, str]:
    """All links of an instance. `{eventName}` and `{text}` are there to be replaced."""

    def link(rest: str = "") -> str:
        return instance_link(origin, instance, rest, code)

    return {
        "id": instance,
        "statusQueryGetUri": link(),
        "sendEventPostUri": link("/raiseEvent/{eventName}"),
        "terminatePostUri": link("/terminate?reason={text}"),
        "rewindPostUri": link("/rewind?reason={text}"),
        "purgeHistoryDeleteUri": link(),
        "restartPostUri": link("/restart"),
        "suspendPostUri": link("/suspend?reason={text}"),
        "resumePostUri": link("/resume?reason={text}"),
    }
