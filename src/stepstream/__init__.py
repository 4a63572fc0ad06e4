"""stepstream: live, correct run-step snapshots from the event stream of an agent run.

Every public name is here, and is loaded when it is first used: a program that only decodes loads no client of HTTP.
"""

import importlib as _importlib
import typing as _typing

from stepstream.errors import (
    APIError,
    DecodeError,
    FrameTooLarge,
    IdleTimeout,
    JournalConflict,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalGap,
    ProtocolError,
    RecordingFailed,
    RunInterrupted,
    RunNotFound,
    StepStreamError,
    StreamFailed,
    StreamStopped,
    StreamTruncated,
    SubscriberTooSlow,
    ToolFailed,
    TransportError,
    WaitAborted,
)

__version__ = "0.1.0"
if _typing.TYPE_CHECKING:
    from stepstream.client.responses import ResponsesClient
    from stepstream.client.runs import RunsClient
    from stepstream.client.tools.context import ToolContext, ToolResult
    from stepstream.client.tools.toolbox import Toolbox
    from stepstream.fold.accumulator import Accumulator, accumulate
    from stepstream.fold.anomalies import Anomaly
    from stepstream.fold.changes import (
        Change,
        MessageProgress,
        MessageTransition,
        RunTransition,
        StepProgress,
        StepTransition,
        ToolCallFinished,
        ToolCallStarted,
    )
    from stepstream.fold.encoding import decode_change, encode_change
    from stepstream.fold.outcome import Outcome
    from stepstream.fold.run_state import RunState
    from stepstream.journal.memory import MemoryJournal
    from stepstream.journal.publish import publish
    from stepstream.journal.redis.journal import RedisJournal
    from stepstream.live.handle import StreamHandle
    from stepstream.live.marks import Reconnected
    from stepstream.live.processor import Processor
    from stepstream.live.source import Source
    from stepstream.live.statistics import Failure, Statistics, SubscriberStatistics
    from stepstream.live.subscriptions import Subscription
    from stepstream.relay.encoded import encoded
    from stepstream.relay.relay import Relay
    from stepstream.sources.event_stream import EventStream
    from stepstream.sources.http import connect
    from stepstream.sources.recording import record, replay
    from stepstream.wire.base import Unknown
    from stepstream.wire.deltas import (
        AnnotationDelta,
        CodeInterpreterDelta,
        CodeOutputDelta,
        ContentDelta,
        MessageDelta,
        MessageDeltaBody,
        ReasoningDelta,
        ReasoningTextDelta,
        RunStepDelta,
        RunStepDeltaBody,
        ShellCommandDelta,
        ShellDelta,
        ShellOutputDelta,
        StepDetailsDelta,
        TextDelta,
        ToolCallDelta,
    )
    from stepstream.wire.events import Done, ErrorData, Event, Malformed, UnknownData, decode_event
    from stepstream.wire.messages import (
        Annotation,
        Content,
        FileCitation,
        ImageFile,
        ImageUrl,
        Message,
        Text,
        UrlCitation,
    )
    from stepstream.wire.objects import (
        Activity,
        IncompleteDetails,
        LastError,
        MessageCreation,
        Reasoning,
        ReasoningText,
        RequiredAction,
        RequiredCalls,
        Run,
        RunStep,
        StepDetails,
        Thread,
        Usage,
    )
    from stepstream.wire.sse import Frame, FrameDecoder, encode_comment, encode_frame
    from stepstream.wire.tool_calls import (
        ApplyPatch,
        BrowserAutomation,
        CodeInterpreter,
        CodeOutput,
        ConnectedAgent,
        CustomCall,
        DeepResearch,
        FileSearch,
        FunctionCall,
        OutputImage,
        PatchOperation,
        RankingOptions,
        SearchResult,
        Shell,
        ShellCommand,
        ShellOutput,
        ToolCall,
    )
    from stepstream.workers.workers import Workers

_HOMES = {
    "stepstream.client.responses": "ResponsesClient",
    "stepstream.client.runs": "RunsClient",
    "stepstream.client.tools.context": "ToolContext ToolResult",
    "stepstream.client.tools.toolbox": "Toolbox",
    "stepstream.fold.accumulator": "Accumulator accumulate",
    "stepstream.fold.anomalies": "Anomaly",
    "stepstream.fold.changes": (
        "Change MessageProgress MessageTransition RunTransition StepProgress StepTransition "
        "ToolCallFinished ToolCallStarted"
    ),
    "stepstream.fold.encoding": "decode_change encode_change",
    "stepstream.fold.run_state": "RunState",
    "stepstream.journal.memory": "MemoryJournal",
    "stepstream.journal.publish": "publish",
    "stepstream.journal.redis.journal": "RedisJournal",
    "stepstream.live.statistics": "Failure Statistics SubscriberStatistics",
    "stepstream.live.handle": "StreamHandle",
    "stepstream.fold.outcome": "Outcome",
    "stepstream.live.processor": "Processor",
    "stepstream.live.marks": "Reconnected",
    "stepstream.live.source": "Source",
    "stepstream.live.subscriptions": "Subscription",
    "stepstream.relay.encoded": "encoded",
    "stepstream.relay.relay": "Relay",
    "stepstream.sources.event_stream": "EventStream",
    "stepstream.sources.http": "connect",
    "stepstream.sources.recording": "record replay",
    "stepstream.wire.base": "Unknown",
    "stepstream.wire.deltas": (
        "AnnotationDelta CodeInterpreterDelta CodeOutputDelta ContentDelta MessageDelta MessageDeltaBody "
        "ReasoningDelta ReasoningTextDelta RunStepDelta RunStepDeltaBody ShellCommandDelta ShellDelta "
        "ShellOutputDelta StepDetailsDelta TextDelta ToolCallDelta"
    ),
    "stepstream.wire.events": "Done ErrorData Event Malformed UnknownData decode_event",
    "stepstream.wire.messages": "Annotation Content FileCitation ImageFile ImageUrl Message Text UrlCitation",
    "stepstream.wire.objects": (
        "Activity IncompleteDetails LastError MessageCreation Reasoning ReasoningText RequiredAction "
        "RequiredCalls Run RunStep StepDetails Thread Usage"
    ),
    "stepstream.wire.sse": "Frame FrameDecoder encode_comment encode_frame",
    "stepstream.wire.tool_calls": (
        "ApplyPatch BrowserAutomation CodeInterpreter CodeOutput ConnectedAgent CustomCall DeepResearch "
        "FileSearch FunctionCall OutputImage PatchOperation RankingOptions SearchResult Shell ShellCommand "
        "ShellOutput ToolCall"
    ),
    "stepstream.workers.workers": "Workers",
}
"""Where the names are that are loaded when they are first used."""

_LAZY = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "APIError", "Accumulator", "Activity", "Annotation", "AnnotationDelta", "Anomaly", "ApplyPatch",
    "BrowserAutomation", "Change", "CodeInterpreter", "CodeInterpreterDelta", "CodeOutput", "CodeOutputDelta",
    "ConnectedAgent", "Content", "ContentDelta", "CustomCall", "DecodeError", "DeepResearch", "Done", "ErrorData",
    "Event", "EventStream", "Failure", "FileCitation", "FileSearch", "Frame", "FrameDecoder", "FrameTooLarge",
    "FunctionCall", "IdleTimeout", "ImageFile", "ImageUrl", "IncompleteDetails", "JournalConflict", "JournalError",
    "JournalFailed", "JournalFull", "JournalGap", "LastError", "Malformed", "MemoryJournal", "Message",
    "MessageCreation", "MessageDelta", "MessageDeltaBody", "MessageProgress", "MessageTransition", "Outcome",
    "OutputImage", "PatchOperation", "Processor", "ProtocolError", "RankingOptions", "Reasoning", "ReasoningDelta",
    "ReasoningText", "ReasoningTextDelta", "Reconnected", "RecordingFailed", "RedisJournal", "Relay", "RequiredAction",
    "RequiredCalls", "ResponsesClient", "Run", "RunInterrupted", "RunNotFound", "RunState", "RunStep", "RunStepDelta",
    "RunStepDeltaBody", "RunTransition", "RunsClient", "SearchResult", "Shell", "ShellCommand", "ShellCommandDelta",
    "ShellDelta", "ShellOutput", "ShellOutputDelta", "Source", "Statistics", "StepDetails", "StepDetailsDelta",
    "StepProgress", "StepStreamError", "StepTransition", "StreamFailed", "StreamHandle", "StreamStopped",
    "StreamTruncated", "SubscriberStatistics", "SubscriberTooSlow", "Subscription", "Text", "TextDelta", "Thread",
    "ToolCall", "ToolCallDelta", "ToolCallFinished", "ToolCallStarted", "ToolContext", "ToolFailed", "ToolResult",
    "Toolbox", "TransportError", "Unknown", "UnknownData", "UrlCitation", "Usage", "WaitAborted", "Workers",
    "accumulate", "connect", "decode_change", "decode_event", "encode_change", "encode_comment", "encode_frame",
    "encoded", "publish", "record", "replay",
]  # fmt: skip


if not _typing.TYPE_CHECKING:  # a checker that sees it believes that every name exists

    def __getattr__(name: str) -> _typing.Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(_importlib.import_module(_LAZY[name]), name))


def __dir__() -> list[str]:
    return __all__
