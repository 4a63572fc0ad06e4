"""Where the public names are that the front door loads when they are first used."""

from collections.abc import Mapping
from typing import Final

HOMES: Final[Mapping[str, str]] = {
    "stepstream.client.runs": "RunsClient",
    "stepstream.client.tools": "Toolbox",
    "stepstream.fold.accumulator": "Accumulator accumulate",
    "stepstream.fold.anomalies": "Anomaly",
    "stepstream.fold.changes": (
        "Change MessageProgress MessageTransition RunTransition StepProgress StepTransition "
        "ToolCallFinished ToolCallStarted"
    ),
    "stepstream.fold.encoding": "decode_change encode_change",
    "stepstream.live.statistics": "Failure Statistics SubscriberStatistics",
    "stepstream.live.handle": "StreamHandle",
    "stepstream.fold.outcome": "Outcome",
    "stepstream.live.processor": "Processor",
    "stepstream.live.source": "Reconnected",
    "stepstream.live.subscriptions": "Subscription",
    "stepstream.sources.event_stream": "EventStream",
    "stepstream.sources.http": "connect",
    "stepstream.sources.recording": "record replay",
    "stepstream.wire.base": "Unknown",
    "stepstream.wire.deltas": (
        "AnnotationDelta CodeInterpreterDelta CodeOutputDelta ContentDelta MessageDelta MessageDeltaBody "
        "RunStepDelta RunStepDeltaBody StepDetailsDelta TextDelta ToolCallDelta"
    ),
    "stepstream.wire.events": "Done ErrorData Event Malformed UnknownData decode_event",
    "stepstream.wire.messages": "Annotation Content FileCitation ImageFile ImageUrl Message Text UrlCitation",
    "stepstream.wire.objects": (
        "Activity IncompleteDetails LastError MessageCreation RequiredAction RequiredCalls Run RunStep StepDetails "
        "Thread Usage"
    ),
    "stepstream.wire.sse": "Frame FrameDecoder",
    "stepstream.wire.sse_encoding": "encode_comment encode_frame",
    "stepstream.wire.tool_calls": (
        "BrowserAutomation CodeInterpreter CodeOutput ConnectedAgent DeepResearch FileSearch FunctionCall "
        "OutputImage RankingOptions SearchResult ToolCall"
    ),
}
"""The public names that a module has."""

LAZY: Final[Mapping[str, str]] = {name: module for module, names in HOMES.items() for name in names.split()}
"""The module of each name."""
