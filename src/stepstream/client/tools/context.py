"""What a tool knows of the call that it answers, and what became of a call."""

from typing import Any

import msgspec

from stepstream.wire.tool_calls import ToolCall


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """The call that a tool answers. A parameter annotated with it is not shown to the model: it gets this instead."""

    call: ToolCall
    """As the model made it: its arguments are text, and not checked."""
    call_id: str
    name: str
    """The name by which the model called the tool; maybe there is none of that name."""
    run_id: str | None = None
    thread_id: str | None = None
    step_id: str | None = None
    context: Any = None
    """The `context` that the run was driven with."""

    def __repr__(self) -> str:
        return f"<ToolContext {self.name:.64} {self.call_id} of {self.run_id}>"


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call."""

    context: ToolContext
    output: str | None
    """What the model gets; None where a failure cancels the run."""
    exception: Exception | None
    """What the tool, or a `before` hook, raised; or why the arguments were refused; or that it took too long."""
    duration: float
    """Seconds from the first `before` hook to the result."""

    def __repr__(self) -> str:
        how = "" if self.exception is None else f": {type(self.exception).__name__}"
        return f"<ToolResult {self.context.name:.64} {self.context.call_id} in {self.duration:.3f} s{how}>"
