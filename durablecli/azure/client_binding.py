"""The value of a durable client binding, and the responses with links that both clients make."""

from __future__ import annotations

import json
import os
from typing import Protocol
from urllib.parse import urlsplit

from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client
from durablecli.errors import UsageError
from durablecli.management_links import BASE_PATH, HttpManagementPayload, ManagementEndpoint

JSON_TYPE = "application/json"


class RequestLike(Protocol):
    """A request, of which links need only the URL."""

    @property
    def url(self) -> str: ...


class ClientBinding(str):
    """The durable client as a string: JSON in Azure's form, from which a client can be made."""

    client: Client
    endpoint: ManagementEndpoint

    __slots__ = ("client", "endpoint")

    def __new__(cls, client: Client, endpoint: ManagementEndpoint) -> ClientBinding:
        """Describe the client of a hub, and its management API."""
        links = endpoint.make_payload("INSTANCEID")
        start = f"{endpoint.origin}{BASE_PATH}/orchestrators/{{functionName}}[/{{instanceId}}]"
        code = f"code={endpoint.code}" if endpoint.code else ""
        description = {
            "taskHubName": os.path.basename(os.path.abspath(client.root)),
            "stateDirectory": client.root,  # durablecli's own: with it a client can be made from the text alone
            "creationUrls": {
                "createNewInstancePostUri": start,
                "createAndWaitOnNewInstancePostUri": f"{start}?timeout={{timeoutInSeconds}}"
                "&pollingInterval={intervalInSeconds}",
            },
            "managementUrls": links,
            "baseUrl": f"{endpoint.origin}{BASE_PATH}",
            "requiredQueryStringParameters": code,
            "rpcBaseUrl": f"{endpoint.origin}{BASE_PATH}/",
        }
        self = super().__new__(cls, json.dumps(description))
        self.client, self.endpoint = client, endpoint
        return self


class HttpManagementMixin:
    """Links and responses with links. They need no I/O, so the sync and the async client share them."""

    endpoint: ManagementEndpoint

    def create_check_status_response(
        self, request: RequestLike | None, instance_id: str, return_internal_server_error_on_failure: bool = False
    ) -> HttpResponse:
        """Respond with 202 and the links of the instance, and with Location and Retry-After headers for polling."""
        links = self._make_payload(request, instance_id, return_internal_server_error_on_failure)
        headers = {"Content-Type": JSON_TYPE, "Location": links["statusQueryGetUri"], "Retry-After": "10"}
        return HttpResponse(json.dumps(links), status_code=202, headers=headers, mimetype=JSON_TYPE)

    def create_http_management_payload(
        self,
        request: RequestLike | str | None = None,
        instance_id: str | None = None,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpManagementPayload:
        """The links of an instance, by `(request, instance_id)` or `(instance_id)`."""
        if isinstance(request, str):
            request, instance_id = None, request
        if instance_id is None:
            raise UsageError("create_http_management_payload needs an instance id")
        return self._make_payload(request, instance_id, return_internal_server_error_on_failure)

    def get_client_response_links(self, request: RequestLike | None, instance_id: str) -> HttpManagementPayload:
        """The links of an instance, with the origin of the request if one is given."""
        return self._make_payload(request, instance_id, False)

    def _make_payload(
        self, request: RequestLike | None, instance_id: str, error_on_failure: bool
    ) -> HttpManagementPayload:
        endpoint = self.endpoint if request is None else self.endpoint.as_seen_by(request.url)
        return endpoint.make_payload(instance_id, error_on_failure=error_on_failure)


def parse_binding(context: str) -> tuple[Client, ManagementEndpoint]:
    """Parse the JSON of a binding into a client and its endpoint; raises UsageError."""
    try:
        found = json.loads(context)
        base = urlsplit(found["baseUrl"])
        code = found.get("requiredQueryStringParameters", "").removeprefix("code=") or None
        return Client(found["stateDirectory"]), ManagementEndpoint(f"{base.scheme}://{base.netloc}", code)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError("invalid client binding; pass the value that the function received, unchanged") from None
