"""The links by which an instance is managed, as Durable Functions gives them out.

They carry a `code` only when a key is in force: without one anybody who reaches the server may ask anyway.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

BASE_PATH = "/runtime/webhooks/durabletask"
"""The path under which the management API answers."""

_ERROR_ON_FAILURE_QUERY = "returnInternalServerErrorOnFailure=true"


class HttpManagementPayload(dict[str, str]):
    """From what may be done with an instance to the link that does it; `id` is the instance."""

    @property
    def urls(self) -> dict[str, str]:
        """The links alone."""
        return {key: url for key, url in self.items() if key != "id"}

    def to_json(self) -> dict[str, str]:
        """The payload as a plain mapping."""
        return dict(self)


class ManagementEndpoint(NamedTuple):
    """Where the management API of a hub answers; `code` is its key where one is in force."""

    origin: str = "http://127.0.0.1:7071"
    code: str | None = None

    def as_seen_by(self, url: str | None) -> ManagementEndpoint:
        """The same place, under the origin that the sender of a request used."""
        parts = urlsplit(url or "")
        if not parts.scheme or not parts.netloc:
            return self
        return self._replace(origin=f"{parts.scheme}://{parts.netloc}")

    def instance_url(self, instance: str, suffix: str = "") -> str:
        """One link; `rest` is what follows the instance id, with its query."""
        link = f"{self.origin}{BASE_PATH}/instances/{quote(instance, safe='')}{suffix}"
        if self.code is None:
            return link
        return f"{link}{'&' if '?' in suffix else '?'}code={quote(self.code, safe='')}"

    def make_payload(self, instance: str, *, error_on_failure: bool = False) -> HttpManagementPayload:
        """All links of an instance. `{eventName}` and `{text}` are there to be replaced.

        With `error_on_failure` the link to its status answers 500 once it has failed.
        """
        return HttpManagementPayload(
            id=instance,
            statusQueryGetUri=self.instance_url(instance, f"?{_ERROR_ON_FAILURE_QUERY}" if error_on_failure else ""),
            sendEventPostUri=self.instance_url(instance, "/raiseEvent/{eventName}"),
            terminatePostUri=self.instance_url(instance, "/terminate?reason={text}"),
            rewindPostUri=self.instance_url(instance, "/rewind?reason={text}"),
            purgeHistoryDeleteUri=self.instance_url(instance),
            restartPostUri=self.instance_url(instance, "/restart"),
            suspendPostUri=self.instance_url(instance, "/suspend?reason={text}"),
            resumePostUri=self.instance_url(instance, "/resume?reason={text}"),
        )
