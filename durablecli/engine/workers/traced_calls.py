"""Calls of activities with a span, which is the current one while the author's code runs."""

from __future__ import annotations

from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.model.trace_context import TraceContext, make_execution_context
from durablecli.telemetry.interface import TracedCall, Tracing


class TracedActivityCall(ActivityCall, frozen=True, kw_only=True, gc=False):
    """An activity to run with a span."""

    tracing: Tracing

    def run(self) -> ActivityResult:
        assert self.trace is not None
        with self.tracing.trace_call(self._describe(self.trace)) as span:
            result = ActivityCall.run(self)
            if result.failure is not None:
                span.fail(result.failure)
            return result

    async def run_async(self) -> ActivityResult:
        assert self.trace is not None
        with self.tracing.trace_call(self._describe(self.trace)) as span:
            result = await ActivityCall.run_async(self)
            if result.failure is not None:
                span.fail(result.failure)
            return result

    def _describe(self, trace: TraceContext) -> TracedCall:
        instance, execution, n = self.key
        return TracedCall(trace, "activity", self.function.name, instance, execution, n, self.attempt, self.redelivered)


def trace_below_execution(call: ActivityCall, trace: TraceContext, tracing: Tracing) -> ActivityCall:
    """Return the same call with a span, below the span of its execution, which belongs to `trace`."""
    parent = make_execution_context(trace, call.key[0], call.key[1])
    assert parent is not None
    return trace_activity(call, parent, tracing)


def trace_activity(call: ActivityCall, trace: TraceContext, tracing: Tracing) -> ActivityCall:
    """Return the same call with a span, below the span that `trace` names."""
    return TracedActivityCall(
        call.key,
        call.function,
        call.input,
        call.attempt,
        call.redelivered,
        call.first_attempt,
        call.payload_limit,
        call.cancellation,
        call.output_log,
        trace=trace,
        priority=call.priority,
        on_begin=call.on_begin,
        tracing=tracing,
    )
