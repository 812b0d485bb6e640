"""What a function that asks for the durable client is given to make one from, and the links that it gives out."""

from __future__ import annotations

import json
import os
from typing import Protocol
from urllib.parse import urlsplit

from durablecli.azure.http_types import HttpResponse
from durablecli.client import Client
from durablecli.errors import UsageError
from durablecli.management_links import BASE_PATH, HttpManagementPayload, ManagementEndpoint

_JSON_TYPE = "application/json"


class RequestLike(Protocol):
    """The request that a function serves, as far as links are concerned."""

    @property
    def url(self) -> str: ...


class ClientBinding(str):
    """What a function that wants a string receives: JSON, as Azure writes it, to make a client from."""

    client: Client
    endpoint: ManagementEndpoint

    __slots__ = ("client", "endpoint")

    def __new__(cls, client: Client, endpoint: ManagementEndpoint) -> ClientBinding:
        """Describe the client of a hub, and where its management API answers."""
        links = endpoint.make_payload("INSTANCEID")
        start = f"{endpoint.origin}{BASE_PATH}/orchestrators/{{functionName}}[/{{instanceId}}]"
        code = f"code={endpoint.code}" if endpoint.code else ""
        description = {
            "taskHubName": os.path.basename(os.path.abspath(client.root)),
            "stateDirectory": client.root,  # ours: where a client that is made from the text alone finds the hub
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
    """The answers that tell a caller where to ask on. They ask nobody themselves, so both clients have the same."""

    endpoint: ManagementEndpoint

    def create_check_status_response(
        self, request: RequestLike | None, instance_id: str, return_internal_server_error_on_failure: bool = False
    ) -> HttpResponse:
        """202, with the links of the instance as its body, and where and when to look."""
        links = self._make_payload(request, instance_id, return_internal_server_error_on_failure)
        headers = {"Content-Type": _JSON_TYPE, "Location": links["statusQueryGetUri"], "Retry-After": "10"}
        return HttpResponse(json.dumps(links), status_code=202, headers=headers, mimetype=_JSON_TYPE)

    def create_http_management_payload(
        self,
        request: RequestLike | str | None = None,
        instance_id: str | None = None,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpManagementPayload:
        """The links of an instance: `(request, instance_id)`, or `(instance_id)` alone."""
        if isinstance(request, str):
            request, instance_id = None, request
        if instance_id is None:
            raise UsageError("create_http_management_payload needs the id of an instance")
        return self._make_payload(request, instance_id, return_internal_server_error_on_failure)

    def get_client_response_links(self, request: RequestLike | None, instance_id: str) -> HttpManagementPayload:
        """The links of an instance, under the origin of the request where there is one."""
        return self._make_payload(request, instance_id, False)

    def _make_payload(
        self, request: RequestLike | None, instance_id: str, error_on_failure: bool
    ) -> HttpManagementPayload:
        endpoint = self.endpoint if request is None else self.endpoint.as_seen_by(request.url)
        return endpoint.make_payload(instance_id, error_on_failure=error_on_failure)


def parse_binding(context: str) -> tuple[Client, ManagementEndpoint]:
    """The client and the place that the JSON of a binding describes; raises UsageError."""
    try:
        found = json.loads(context)
        base = urlsplit(found["baseUrl"])
        code = found.get("requiredQueryStringParameters", "").removeprefix("code=") or None
        return Client(found["stateDirectory"]), ManagementEndpoint(f"{base.scheme}://{base.netloc}", code)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError("a client is made from what the binding of a function received, as it is") from None
