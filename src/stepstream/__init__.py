"""stepstream: live, correct run-step snapshots from the event stream of an agent run.

Every public name is here. What needs an HTTP client is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepstream.errors import (
    APIError,
    DecodeError,
    FrameTooLarge,
    IdleTimeout,
    NeverHappens,
    ProtocolError,
    RecordingFailed,
    StepStreamError,
    StreamFailed,
    StreamTruncated,
    SubscriberTooSlow,
    ToolFailed,
    TransportError,
)
from stepstream.fold.accumulator import Accumulator, accumulate
from stepstream.fold.changes import (
    Anomaly,
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.fold.encoding import encode_change
from stepstream.live.failure import Failure, Statistics, SubscriberStatistics
from stepstream.live.handle import StreamHandle
from stepstream.live.outcome import Outcome
from stepstream.live.processor import Processor
from stepstream.live.source import Reconnected
from stepstream.live.subscription import Subscription
from stepstream.wire.base import Unknown
from stepstream.wire.deltas import (
    AnnotationDelta,
    CodeInterpreterDelta,
    CodeOutputDelta,
    ContentDelta,
    MessageDelta,
    MessageDeltaBody,
    RunStepDelta,
    RunStepDeltaBody,
    StepDetailsDelta,
    TextDelta,
    ToolCallDelta,
)
from stepstream.wire.events import Done, ErrorData, Event, Malformed, UnknownData, decode_event
from stepstream.wire.messages import Annotation, Content, FileCitation, ImageFile, ImageUrl, Message, Text, UrlCitation
from stepstream.wire.objects import (
    Activity,
    IncompleteDetails,
    LastError,
    MessageCreation,
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
    BrowserAutomation,
    CodeInterpreter,
    CodeOutput,
    ConnectedAgent,
    DeepResearch,
    FileSearch,
    FunctionCall,
    OutputImage,
    RankingOptions,
    SearchResult,
    ToolCall,
)

if TYPE_CHECKING:
    from stepstream.client.runs import RunsClient
    from stepstream.client.tools import Toolbox
    from stepstream.sources.event_stream import EventStream
    from stepstream.sources.http import connect
    from stepstream.sources.recording import record, replay

_LAZY = {
    "EventStream": "stepstream.sources.event_stream",
    "RunsClient": "stepstream.client.runs",
    "Toolbox": "stepstream.client.tools",
    "connect": "stepstream.sources.http",
    "record": "stepstream.sources.recording",
    "replay": "stepstream.sources.recording",
}

__all__ = [
    "APIError",
    "Accumulator",
    "Activity",
    "Annotation",
    "AnnotationDelta",
    "Anomaly",
    "BrowserAutomation",
    "Change",
    "CodeInterpreter",
    "CodeInterpreterDelta",
    "CodeOutput",
    "CodeOutputDelta",
    "ConnectedAgent",
    "Content",
    "ContentDelta",
    "DecodeError",
    "DeepResearch",
    "Done",
    "ErrorData",
    "Event",
    "EventStream",
    "Failure",
    "FileCitation",
    "FileSearch",
    "Frame",
    "FrameDecoder",
    "FrameTooLarge",
    "FunctionCall",
    "IdleTimeout",
    "ImageFile",
    "ImageUrl",
    "IncompleteDetails",
    "LastError",
    "Malformed",
    "Message",
    "MessageCreation",
    "MessageDelta",
    "MessageDeltaBody",
    "MessageProgress",
    "MessageTransition",
    "NeverHappens",
    "Outcome",
    "OutputImage",
    "Processor",
    "ProtocolError",
    "RankingOptions",
    "Reconnected",
    "RecordingFailed",
    "RequiredAction",
    "RequiredCalls",
    "Run",
    "RunStep",
    "RunStepDelta",
    "RunStepDeltaBody",
    "RunTransition",
    "RunsClient",
    "SearchResult",
    "Statistics",
    "StepDetails",
    "StepDetailsDelta",
    "StepProgress",
    "StepStreamError",
    "StepTransition",
    "StreamFailed",
    "StreamHandle",
    "StreamTruncated",
    "SubscriberStatistics",
    "SubscriberTooSlow",
    "Subscription",
    "Text",
    "TextDelta",
    "Thread",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallFinished",
    "ToolCallStarted",
    "ToolFailed",
    "Toolbox",
    "TransportError",
    "Unknown",
    "UnknownData",
    "UrlCitation",
    "Usage",
    "accumulate",
    "connect",
    "decode_event",
    "encode_change",
    "encode_comment",
    "encode_frame",
    "record",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
