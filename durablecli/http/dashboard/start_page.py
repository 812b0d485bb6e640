"""The form that starts an orchestration. Each field is checked on the server, and what was typed is kept."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response

from durablecli.client import Client, unnamed_kinds
from durablecli.errors import Conflict, DurableError, NotFound
from durablecli.http.dashboard.checked_form import CheckedForm, InvalidForm
from durablecli.http.dashboard.forms import FormValues, read_form
from durablecli.http.dashboard.input_form import describe_input, make_input_fields, make_json_field, read_input
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.dashboard.template_filters import instance_url
from durablecli.http.dashboard.verb_forms import FormField
from durablecli.http.input_rules import read_input_rules
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import to_api_error
from durablecli.inputs.input_check import InputRules
from durablecli.model.ids import check_instance_id
from durablecli.model.validation import check_version

_POLICIES = (
    ("fail", "Do nothing, and say so"),
    ("skip", "Show the existing instance"),
    ("replace", "Terminate and replace it"),
)
_ADVANCED = [
    FormField("id", "Instance id", hint="Default: a random one."),
    FormField("if-exists", "If the id exists", "choice", choices=_POLICIES),
    FormField("tags", "Tags", "lines", "One KEY=VALUE a line.", rows=2),
    FormField("version", "Version", hint="What the orchestrator sees as context.version."),
    FormField("delay", "Start after", hint="A delay: 90 (seconds), 10m, 1h30m or 30d."),
    FormField("at", "Start at", hint="A time, such as 2026-12-01T09:00Z (UTC if no zone)."),
]


class StartPage:
    """Shows the form, and starts what it says."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/start", self.show), ApiRoute("POST", "ui/start", self.start)]

    async def show(self, request: ApiRequest) -> Response:
        """Show the form. The query may fill in fields, such as `?name=order`."""
        given = [(each, request.query.text(each) or "") for each in ("name", "input", "id", "version", "tags")]
        return await self._render(request, CheckedForm(FormValues(given)))

    async def start(self, request: ApiRequest) -> Response:
        """Start the instance, and go to its page."""
        form = CheckedForm(await read_form(request.raw))
        try:
            instance = await self._site.bridge.call(lambda client: _start(client, form, self._find_rules(client, form)))
        except InvalidForm:
            return await self._render(request, form, status=400)
        except DurableError as error:
            api_error = to_api_error(error)
            field = "name" if isinstance(error, NotFound) else "id" if isinstance(error, Conflict) else ""
            if field:
                form.errors[field] = str(error)
            return await self._render(request, form, status=api_error.status, error="" if field else str(error))
        return self._site.redirect(instance_url(instance), f"Started {form.word('name')}.")

    async def _render(self, request: ApiRequest, form: CheckedForm, *, status: int = 200, error: str = "") -> Response:
        def read(client: Client) -> tuple[list[str], bool, bool, InputRules | None]:
            names = list_orchestrators(self._site, client)
            rules = self._find_rules(client, form, names[0] if len(names) == 1 else "")
            return names, client.engine().alive, _runs_any_name(client), rules

        names, has_engine, runs_any_name, rules = await self._site.bridge.read(read)
        input_fields = [] if rules is None else make_input_fields(rules)
        return self._site.render(
            request,
            "start.html",
            status=status,
            form=form,
            name_field=_make_name_field(names, form.word("name"), is_open=runs_any_name),
            input_field=make_json_field(rules, has_fields=bool(input_fields)),
            input_fields=input_fields,
            input_title=describe_input(rules),
            advanced=_ADVANCED,
            is_advanced=any(_is_filled_in(form, each) for each in _ADVANCED),
            has_engine=has_engine,
            has_names=bool(names),
            error=error,
        )

    def _find_rules(self, client: Client, form: CheckedForm, default: str = "") -> InputRules | None:
        name = form.word("name") or default
        return read_input_rules(self._site.registry, client, name) if name else None


def _is_filled_in(form: CheckedForm, field: FormField) -> bool:
    """Whether somebody has filled in a field, or has to look at it."""
    default = field.choices[0][0] if field.choices else ""
    return field.name in form.errors or form.word(field.name) not in ("", default)


def list_orchestrators(site: DashboardSite, client: Client) -> list[str]:
    """Return the orchestrators of the app and those that workers name, or else those of the last engine, sorted."""
    if site.registry is not None:
        workers = client.workers()
        remote = [] if workers is None else [each.name for each in workers.functions() if each.kind == "orchestrator"]
        return [*(each.name for each in site.registry.functions_of_kind("orchestrator")), *remote]
    published = client.published()
    return sorted(published.names("orchestrator"), key=str.casefold) if published is not None else []


def _runs_any_name(client: Client) -> bool:
    """Whether an orchestrator of any name can be started: no worker is connected yet, or one names none."""
    workers = client.workers()
    return workers is not None and (
        not workers.workers or any("orchestrator" in unnamed_kinds(each) for each in workers.workers)
    )


def _make_name_field(names: Iterable[str], chosen: str, *, is_open: bool = False) -> FormField:
    """Make the field of the name: a choice, unless the set of names is open."""
    known = list(names)
    if not known or is_open:
        return FormField("name", "Orchestrator", hint=f"Known: {', '.join(known)}." if known else "", is_required=True)
    choices = [(name, name) for name in known]
    if chosen and chosen not in known:
        choices.append((chosen, f"{chosen} (not loaded)"))
    if not chosen and len(known) > 1:
        choices.insert(0, ("", "Choose…"))
    return FormField("name", "Orchestrator", "select", choices=tuple(choices), is_required=True)


def _start(client: Client, form: CheckedForm, rules: InputRules | None) -> str:
    name, tags = form.required("name"), form.tags("tags")
    data = form.json("input") if rules is None else read_input(form, rules)
    policy = form.choice("if-exists", [value for value, _ in _POLICIES], "fail")
    start_at = form.due_time("delay", "at")
    id = form.valid("id", check_instance_id)
    version = form.valid("version", check_version)
    form.check()
    return client.start_new(name, id, data, version, if_exists=policy, start_at=start_at, tags=tags)
