"""The settings of a hub and its engine, typed, in groups; each with its default."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, NewType

import msgspec

from durablecli.limits import MIB, PAYLOAD_LIMIT, SPILL_OVER
from durablecli.model.schedule_options import DEFAULT_TIME_ZONE
from durablecli.project import DEFAULT_STATE_DIR

NonEmptyText = Annotated[str, msgspec.Meta(min_length=1)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


# A number of bytes, written `16MiB`, `512KiB` or plain. Not a class: msgspec can't encode subclasses of int as JSON.
ByteSize = NewType("ByteSize", int)
MessageSize = NewType("MessageSize", int)
"""A number of bytes that may exceed the greatest line of the journal."""


SpillSize = NewType("SpillSize", int)
"""A number of bytes; 0 switches off what begins above it."""


class ConfigSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings."""


class ConcurrencyConfig(ConfigSection, frozen=True):
    """How much the engine does at the same time."""

    activities: PositiveInt = 20
    """Synchronous activities that run at the same time, each in a thread."""
    entities: PositiveInt = 50
    """Entities whose operations run at the same time."""
    process_workers: PositiveInt = 2
    """Worker processes for activities with `executor="process"`."""
    async_activities: PositiveInt = 1000
    """`async def` activities that run at the same time on the event loop."""
    live_instances: PositiveInt = 10_000
    """Instances whose generator stays in memory between turns. The least recently used one is evicted, and replayed
    when it is needed again. While activities of half as many instances are queued or running, new starts wait on disk;
    those of a batch wait sooner."""


class CheckpointConfig(ConfigSection, frozen=True):
    """When a checkpoint is made: it syncs the histories and deletes the journal segments that they cover."""

    bytes: ByteSize = ByteSize(16 * MIB)
    """The size of the journal that starts a checkpoint."""
    every: timedelta = timedelta(seconds=10)
    """The age of the oldest commit that starts a checkpoint."""


class LimitsConfig(ConfigSection, frozen=True):
    """Sizes that are rejected, or warned about."""

    payload: ByteSize = ByteSize(PAYLOAD_LIMIT)
    """The largest input, result, event or state, as JSON."""
    history_warning: PositiveInt = 10_000
    """The number of records in one history after which the engine logs a warning."""
    sub_orchestration_depth: PositiveInt = 1_000
    """How deep sub-orchestrations may nest. A deeper one fails when it starts."""


class PayloadsConfig(ConfigSection, frozen=True):
    """Where large payloads are kept."""

    spill_over: SpillSize = SpillSize(SPILL_OVER)
    """The size of a record, with its input, result, event or state, above which it is kept in a file of its own, and
    the journal and the history only refer to it. `0`: never."""


class RetentionConfig(ConfigSection, frozen=True):
    """How long ended instances are kept, counted from their end; without a value, for ever. The daemon purges older
    ones in the background, with their histories, their logs and their ended sub-orchestrations."""

    completed: timedelta | None = None
    """How long Completed instances are kept: `30d`."""
    failed: timedelta | None = None
    """How long Failed instances are kept."""
    terminated: timedelta | None = None
    """How long Terminated and Canceled instances are kept."""

    def ages(self) -> dict[str, timedelta]:
        """Return how long ended instances are kept, by status; without those that are kept for ever."""
        given = {
            "Completed": self.completed,
            "Failed": self.failed,
            "Terminated": self.terminated,
            "Canceled": self.terminated,
        }
        return {status: age for status, age in given.items() if age is not None}


class HttpKeysConfig(ConfigSection, frozen=True):
    """The keys of the HTTP server."""

    function: NonEmptyText | None = None
    """Gives access to the HTTP functions of the app."""
    system: NonEmptyText | None = None
    """Gives access to the HTTP functions of the app and to the management API."""
    master: NonEmptyText | None = None
    """Gives access to everything, including functions with the authorization level `admin`."""


class HttpConfig(ConfigSection, frozen=True):
    """The HTTP server. It is off unless `listen` is set. Any address but loopback requires a key."""

    listen: NonEmptyText | PositiveInt | None = None
    """Where the server listens: `7071` or `127.0.0.1:7071`. Without it there is no server."""
    allowed_hosts: tuple[NonEmptyText, ...] = ()
    """Accepted `Host` headers besides those of the address that the server listens on."""
    allowed_origins: tuple[NonEmptyText, ...] = ()
    """Origins whose pages may call the HTTP functions of the app from a browser: `http://localhost:3000`, or `*`."""
    allow_credentials: bool = False
    """Whether browsers may send cookies and `Authorization` from the allowed origins."""
    route_prefix: str = "api"
    """The first part of the path of the app's HTTP functions."""
    dashboard: bool = True
    """Whether the server has the dashboard, at `/` and below `/ui/`."""
    body_limit: ByteSize = ByteSize(16 * MIB)
    """The largest request body."""
    header_timeout: timedelta = timedelta(seconds=10)
    """How long a client may take to send the headers."""
    body_timeout: timedelta = timedelta(seconds=30)
    """How long a client may take to send the body."""
    keep_alive: timedelta = timedelta(seconds=60)
    """How long an idle connection stays open."""
    keys: HttpKeysConfig = HttpKeysConfig()


class GrpcConfig(ConfigSection, frozen=True):
    """The gRPC server, for the SDKs of Durable Task. It is off unless `listen` is set. Any address but loopback
    requires a key: those of `http.keys`, or the ones that are stored in the hub."""

    listen: NonEmptyText | PositiveInt | None = None
    """Where the server listens: `4001` or `127.0.0.1:4001`. Without it there is no server."""
    taskhub: NonEmptyText | None = None
    """A name of the hub that clients may give as their task hub, besides `default`."""
    certificate: NonEmptyText | None = None
    """A file with the certificate of the server and its chain, as PEM. Without it connections aren't encrypted."""
    private_key: NonEmptyText | None = None
    """The file with the private key of the certificate, as PEM."""
    message_limit: MessageSize = MessageSize(64 * MIB)
    """The largest message. A turn with a longer history can't be sent to a worker, and blocks its instance."""
    metadata_limit: ByteSize = ByteSize(16 * 1024)
    """The largest metadata of a call, in bytes."""
    calls: PositiveInt = 4096
    """Calls at the same time, including those that wait and the streams of workers."""
    keep_alive: timedelta = timedelta(seconds=20)
    """The interval of HTTP/2 pings, and how long a peer may take to answer one before its connection is closed."""
    health_ping: timedelta = timedelta(seconds=30)
    """The interval of the pings that workers get while they have no work."""


class LogConfig(ConfigSection, frozen=True):
    """The log of the engine."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged. `info` shows starts, ends, failures and retries; `debug` also every activity
    and sub-orchestration."""
    format: Literal["text", "json"] = "text"
    """How lines are written: as text, or as one JSON object per line."""
    instances: bool = True
    """Whether the lines that functions print and log are kept for `durable logs`."""
    instance_bytes: ByteSize = ByteSize(4 * MIB)
    """The greatest size of the log of an instance. A full log drops its older half."""


class CallHttpConfig(ConfigSection, frozen=True):
    """The requests of `context.call_http`."""

    poll: timedelta = timedelta(seconds=30)
    """The interval between polls after a 202 response without `Retry-After`."""
    timeout: timedelta = timedelta(seconds=100)
    """How long one HTTP request may take."""


class HookConfig(ConfigSection, frozen=True):
    """One hook: what is called when something happens to an instance. It has either `url` or `run`."""

    url: NonEmptyText | None = None
    """Where the event is posted, as JSON. `${NAME}` is the value of an environment variable, read when it is sent."""
    run: NonEmptyText | None = None
    """The command that is run, without a shell, in the folder of durable.yaml; it reads the event from its stdin."""
    name: NonEmptyText | tuple[NonEmptyText, ...] = "*"
    """The orchestrators it is for: a pattern such as `order*`, or several."""
    children: bool = False
    """Whether it is also called for sub-orchestrations, whose ends their parents see. Blocked ones always count."""
    headers: dict[str, str] = {}
    """Headers of the request. `${NAME}` is the value of an environment variable."""
    timeout: timedelta = timedelta(seconds=30)
    """How long one attempt may take."""
    attempts: PositiveInt = 10
    """How often the delivery is tried: again after 5 seconds, then three times as long each, up to an hour."""

    def __post_init__(self) -> None:
        from durablecli.model.hook_delivery import split_command  # needed for hooks only
        from durablecli.model.http_messages import check_uri

        if (self.url is None) == (self.run is None):
            raise ValueError("a hook has either url or run")
        if self.headers and self.url is None:
            raise ValueError("headers are for a url")
        if self.timeout <= timedelta():
            raise ValueError("timeout must be longer than 0 seconds")
        if self.url is not None and "${" not in self.url:
            check_uri(self.url)
        if self.run is not None and not split_command(self.run):
            raise ValueError("run has no command")


class HooksConfig(ConfigSection, frozen=True):
    """The hooks: for each event a list of hooks, called once it has happened. They can't be set by variables."""

    failed: tuple[HookConfig, ...] = ()
    """Called when an instance has failed."""
    blocked: tuple[HookConfig, ...] = ()
    """Called when an instance is blocked, once for each reason."""
    completed: tuple[HookConfig, ...] = ()
    """Called when an instance has completed."""
    terminated: tuple[HookConfig, ...] = ()
    """Called when an instance was terminated."""


class TelemetryConfig(ConfigSection, frozen=True):
    """Traces, sent by OpenTelemetry. They need the extra `durablecli[otel]`. The standard `OTEL_` variables apply."""

    traces: bool | None = None
    """Whether traces are sent. Default: if there is an endpoint, here or in `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    endpoint: NonEmptyText | None = None
    """The base URL of an OTLP/HTTP receiver: `http://localhost:4318`. Overrides `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    service_name: NonEmptyText | None = None
    """The name of the service in traces. Default: `OTEL_SERVICE_NAME`, or `durablecli`."""


class ScheduleConfig(ConfigSection, frozen=True):
    """A schedule: which orchestrator the daemon starts, and when."""

    orchestrator: NonEmptyText
    schedule: NonEmptyText
    timezone: NonEmptyText = DEFAULT_TIME_ZONE
    overlap: Literal["skip", "queue", "allow"] = "skip"
    catch_up: bool = False
    input: Any = None


class Config(ConfigSection, frozen=True):
    """All settings. `app` is relative to `base`; modules of the app may import packages in the folder `project`.

    `load_config` makes `base`, `state_dir` and `project` absolute, so they stay valid if code changes the folder."""

    app: tuple[NonEmptyText, ...] = ()
    """Folders, files and dotted modules with functions. Default: `workflows`, if there is such a folder."""
    state_dir: NonEmptyText = DEFAULT_STATE_DIR
    """The folder of the hub."""
    engine: NonEmptyText | None = None
    """Another engine, which speaks the Durable Task protocol, instead of the hub in `state_dir`: `dts://HOST:PORT;HUB`,
    or a connection string of the Durable Task Scheduler."""
    default_version: str | None = None
    """The version of instances that are started without one."""
    version_match: Literal["none", "strict", "current_or_older"] = "none"
    """The instances that the engine works on: all (`none`), those of exactly `default_version` (`strict`), or those of
    this version and lower ones (`current_or_older`)."""
    version_failure: Literal["block", "fail"] = "block"
    """An instance whose version does not match waits for matching code (`block`) or fails (`fail`)."""
    on_nondeterminism: Literal["block", "fail"] = "block"
    """An instance whose code does not match its history waits for matching code (`block`) or fails (`fail`)."""
    replay_always: bool = False
    """Whether each turn replays the history from its beginning. For tests: it finds non-determinism early."""
    drain: timedelta = timedelta(seconds=10)
    """How long running activities may continue when the engine stops."""
    concurrency: ConcurrencyConfig = ConcurrencyConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    limits: LimitsConfig = LimitsConfig()
    payloads: PayloadsConfig = PayloadsConfig()
    retention: RetentionConfig = RetentionConfig()
    call_http: CallHttpConfig = CallHttpConfig()
    http: HttpConfig = HttpConfig()
    grpc: GrpcConfig = GrpcConfig()
    log: LogConfig = LogConfig()
    on: HooksConfig = HooksConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    schedules: dict[str, ScheduleConfig] = {}
    """Schedules by name: `nightly: {orchestrator: backup, schedule: "0 3 * * *", timezone: Europe/Vienna}`. They are
    those of the decorator `@df.orchestrator(schedule=...)`, with the same fields; one of the same name is replaced."""
    base: str = "."
    project: str = "."
