"""The page of a verb: it says what the verb will do to an instance or an entity, and asks for a confirmation.

It works without a script. With one, the page appears in a dialog above the page that it was opened from.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import Response

from durablecli.client import Client, DurableOrchestrationStatus, EntityStatus
from durablecli.errors import DurableError
from durablecli.http.dashboard.checked_form import CheckedForm, InvalidForm
from durablecli.http.dashboard.forms import FormValues, read_form
from durablecli.http.dashboard.site import DashboardSite, is_fragment
from durablecli.http.dashboard.template_filters import instance_url
from durablecli.http.dashboard.verb_buttons import (
    ENTITY_VERBS,
    INSTANCE_VERBS,
    VerbButton,
    entity_buttons,
    instance_buttons,
)
from durablecli.http.dashboard.verb_forms import ENTITY_FORMS, INSTANCE_FORMS, VerbForm
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import ApiError, route_not_found, to_api_error
from durablecli.model.entity_id import is_entity_id, to_entity_id


class VerbTarget(NamedTuple):
    """The verb of a request, and the id that it is for."""

    verb: str
    id: str

    @property
    def is_entity(self) -> bool:
        return is_entity_id(self.id)


class _Prepared(NamedTuple):
    """What a page shows: the status, the button as it is now, and the form; None if the verb isn't possible."""

    status_name: str
    button: VerbButton
    form: VerbForm | None
    why_not: str


class VerbPage:
    """The pages of all verbs."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/do/{verb}", self.show), ApiRoute("POST", "ui/do/{verb}", self.perform)]

    async def show(self, request: ApiRequest) -> Response:
        """Show what the verb will do."""
        return await self._render(request, _read_target(request), None)

    async def perform(self, request: ApiRequest) -> Response:
        """Do it, and go to the page of the instance; show the form again, as it was filled in, if that fails."""
        target, form = _read_target(request), CheckedForm(await read_form(request.raw))
        try:
            url, text = await self._perform(target, form)
        except InvalidForm:
            return await self._render(request, target, form, status=400)
        except DurableError as error:
            api_error = to_api_error(error)
            return await self._render(request, target, form, status=api_error.status, error=str(error))
        if not await self._site.bridge.read(lambda client: client.engine().alive):
            text = "Posted. No engine is running: it takes effect when one does."
        return redirect_to(self._site, request, url, text)

    async def _perform(self, target: VerbTarget, form: CheckedForm) -> tuple[str, str]:
        """Call the client; return the page to show then, and the message on it."""
        id = target.id
        if target.is_entity:
            verb = ENTITY_FORMS[target.verb]
            await self._site.bridge.call(lambda client: verb.perform(client, id, form))
            return "/ui/entities" if target.verb == "purge" else instance_url(id), verb.done
        instance_verb = INSTANCE_FORMS[target.verb]
        shown = await self._site.bridge.call(lambda client: instance_verb.perform(client, id, form))
        return instance_url(shown) if shown else "/", instance_verb.done

    async def _render(
        self, request: ApiRequest, target: VerbTarget, form: CheckedForm | None, *, status: int = 200, error: str = ""
    ) -> Response:
        prepared = await self._site.bridge.read(lambda client: _prepare(client, target))
        label = prepared.button.label.removesuffix("…")
        initial = prepared.form.initial if prepared.form is not None else {}
        shown = CheckedForm(FormValues(list(initial.items()))) if form is None else form
        return self._site.render(
            request,
            "verb.html",
            status=status,
            target=target,
            label=label,
            button=prepared.button,
            status_name=prepared.status_name,
            verb_form=prepared.form,
            why_not=prepared.why_not,
            form=shown,
            error=error,
            nav="entities" if target.is_entity else "instances",
        )


def redirect_to(site: DashboardSite, request: ApiRequest, url: str, text: str) -> Response:
    """Redirect the browser. The script of a dialog can't follow a redirect, so a header names the page for it."""
    response = site.redirect(url, text)
    if is_fragment(request.raw):
        response.status_code = 200
        del response.headers["location"]
        response.headers["hx-redirect"] = url
    return response


def _read_target(request: ApiRequest) -> VerbTarget:
    (verb,), id = request.path_values, request.query.text("id")
    if id is None:
        raise ApiError(400, "The id is missing", "The URL names no instance or entity: ?id=…")
    if is_entity_id(id):
        id = str(to_entity_id(id))
    if verb not in (ENTITY_VERBS if is_entity_id(id) else INSTANCE_VERBS):
        raise route_not_found(request.raw)
    return VerbTarget(verb, id)


def _prepare(client: Client, target: VerbTarget) -> _Prepared:
    status: EntityStatus | DurableOrchestrationStatus
    if target.is_entity:
        status = entity = client.entity(target.id)
        buttons = entity_buttons(entity)
    else:
        status = instance = client.get_status(target.id)
        if not instance:
            raise ApiError(404, f"No instance with ID '{target.id}' found.", f"There is no instance {target.id}.")
        buttons = instance_buttons(instance)
    button = next(each for each in buttons if each.verb == target.verb)
    form, why_not = None, button.why_not
    if not why_not:
        try:
            form = _describe(client, target, status)
        except DurableError as error:
            why_not = str(error)
    return _Prepared(status.status_name, button, form, why_not)


def _describe(client: Client, target: VerbTarget, status: EntityStatus | DurableOrchestrationStatus) -> VerbForm:
    if isinstance(status, EntityStatus):
        return ENTITY_FORMS[target.verb].describe(client, status)
    return INSTANCE_FORMS[target.verb].describe(client, status)
