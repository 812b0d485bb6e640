"""What a function that asks for the durable client is given to make one from, and the links that it gives out."""

from __future__ import annotations

import json
import os
from typing import Protocol
from urllib.parse import urlsplit

from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client
from durablecli.errors import UsageError
from durablecli.management_links import BASE, HttpManagementPayload, Place

_JSON = "application/json"


class Request(Protocol):
    """The request that a function serves, as far as links are concerned."""

    @property
    def url(self) -> str: ...


class Binding(str):
    """What a function that wants a string receives: JSON, as Azure writes it, to make a client from."""

    client: Client
    place: Place

    __slots__ = ("client", "place")

    def __new__(cls, client: Client, place: Place) -> Binding:
        """Describe the client of a hub, and where its management API answers."""
        links = place.management("INSTANCEID")
        start = f"{place.origin}{BASE}/orchestrators/{{functionName}}[/{{instanceId}}]"
        code = f"code={place.code}" if place.code else ""
        described = {
            "taskHubName": os.path.basename(os.path.abspath(client.root)),
            "stateDirectory": client.root,  # ours: where a client that is made from the text alone finds the hub
            "creationUrls": {
                "createNewInstancePostUri": start,
                "createAndWaitOnNewInstancePostUri": f"{start}?timeout={{timeoutInSeconds}}"
                "&pollingInterval={intervalInSeconds}",
            },
            "managementUrls": links,
            "baseUrl": f"{place.origin}{BASE}",
            "requiredQueryStringParameters": code,
            "rpcBaseUrl": f"{place.origin}{BASE}/",
        }
        self = super().__new__(cls, json.dumps(described))
        self.client, self.place = client, place
        return self


class Links:
    """The answers that tell a caller where to ask on. They ask nobody themselves, so both clients have the same."""

    place: Place

    def create_check_status_response(
        self, request: Request | None, instance_id: str, return_internal_server_error_on_failure: bool = False
    ) -> HttpResponse:
        """202, with the links of the instance as its body, and where and when to look."""
        links = self._links(request, instance_id, return_internal_server_error_on_failure)
        headers = {"Content-Type": _JSON, "Location": links["statusQueryGetUri"], "Retry-After": "10"}
        return HttpResponse(json.dumps(links), status_code=202, headers=headers, mimetype=_JSON)

    def create_http_management_payload(
        self,
        request: Request | str | None = None,
        instance_id: str | None = None,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpManagementPayload:
        """The links of an instance: `(request, instance_id)`, or `(instance_id)` alone."""
        if isinstance(request, str):
            request, instance_id = None, request
        if instance_id is None:
            raise UsageError("create_http_management_payload needs the id of an instance")
        return self._links(request, instance_id, return_internal_server_error_on_failure)

    def get_client_response_links(self, request: Request | None, instance_id: str) -> HttpManagementPayload:
        """The links of an instance, under the origin of the request where there is one."""
        return self._links(request, instance_id, False)

    def _links(self, request: Request | None, instance_id: str, error_on_failure: bool) -> HttpManagementPayload:
        place = self.place if request is None else self.place.seen_by(request.url)
        return place.management(instance_id, error_on_failure=error_on_failure)


def from_json(context: str) -> tuple[Client, Place]:
    """The client and the place that the JSON of a binding describes; raises UsageError."""
    try:
        found = json.loads(context)
        base = urlsplit(found["baseUrl"])
        code = found.get("requiredQueryStringParameters", "").removeprefix("code=") or None
        return Client(found["stateDirectory"]), Place(f"{base.scheme}://{base.netloc}", code)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError("a client is made from what the binding of a function received, as it is") from None
