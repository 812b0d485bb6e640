"""The links by which clients manage an instance, as Durable Functions returns them.

They carry a `code` only if a key is in force: without one, every client that reaches the server has access anyway.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

BASE_PATH = "/runtime/webhooks/durabletask"
"""The base path of the management API."""

REWIND_LINK = "rewindPostUri"
"""The name of the link that only the client of an app gives out, as in the original: no response to a start has it."""

_ERROR_ON_FAILURE_QUERY = "returnInternalServerErrorOnFailure=true"


class HttpManagementPayload(dict[str, str]):
    """The links of an instance by name, and its id as `id`."""

    @property
    def urls(self) -> dict[str, str]:
        """Only the links, without the id."""
        return {key: url for key, url in self.items() if key != "id"}

    def to_json(self) -> dict[str, str]:
        """Convert to a plain dict."""
        return dict(self)


class ManagementEndpoint(NamedTuple):
    """The origin of the management API of a hub; `code` is its key if one is in force."""

    origin: str = "http://127.0.0.1:7071"
    code: str | None = None

    def as_seen_by(self, url: str | None) -> ManagementEndpoint:
        """The same endpoint, with the origin that the URL of a request has."""
        parts = urlsplit(url or "")
        if not parts.scheme or not parts.netloc:
            return self
        return self._replace(origin=f"{parts.scheme}://{parts.netloc}")

    def make_payload(self, instance: str, *, error_on_failure: bool = False) -> HttpManagementPayload:
        """Make all links of an instance. `{eventName}` and `{text}` are placeholders.

        With `error_on_failure` the status link responds with 500 once the instance has failed.
        """
        link = f"{self.origin}{BASE_PATH}/instances/{quote(instance, safe='')}"
        key = "" if self.code is None else f"code={quote(self.code, safe='')}"
        first, further = (f"?{key}", f"&{key}") if key else ("", "")  # in a link without a query, and with one
        return HttpManagementPayload(
            id=instance,
            statusQueryGetUri=f"{link}?{_ERROR_ON_FAILURE_QUERY}{further}" if error_on_failure else f"{link}{first}",
            sendEventPostUri=f"{link}/raiseEvent/{{eventName}}{first}",
            terminatePostUri=f"{link}/terminate?reason={{text}}{further}",
            rewindPostUri=f"{link}/rewind?reason={{text}}{further}",
            purgeHistoryDeleteUri=f"{link}{first}",
            restartPostUri=f"{link}/restart{first}",
            suspendPostUri=f"{link}/suspend?reason={{text}}{further}",
            resumePostUri=f"{link}/resume?reason={{text}}{further}",
        )
