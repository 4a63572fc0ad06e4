"""Streams of deltas that are nearly alike, as bytes, in chunks."""

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.support.json_values import JSON

STEP_DELTA = "thread.run.step.delta"
MESSAGE_DELTA = "thread.message.delta"

TIGHT = (",", ":")
SPACED = (", ", ": ")

HOLE = "@hole@"


def written(name: str, body: object, piece: bytes = b"", *, separators: tuple[str, str] = TIGHT) -> bytes:
    """The block of an event; `piece` stands, as it is, where the body says `HOLE`."""
    text = json.dumps(body, separators=separators).encode().replace(HOLE.encode(), piece)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text)


# Bodies


def step(
    status: str, step_id: str = "step_1", *, calls: Sequence[JSON] = (), run_id: str = "run_1", **more: Any
) -> JSON:
    details = {"type": "tool_calls", "tool_calls": [*calls]}
    body = {"id": step_id, "object": "thread.run.step", "run_id": run_id, "type": "tool_calls", "status": status}
    return {**body, "step_details": details, **more}


def message(status: str, message_id: str = "msg_1", *, run_id: str = "run_1", text: str = "") -> JSON:
    content = [{"type": "text", "text": {"value": text, "annotations": []}}]
    body = {"id": message_id, "object": "thread.message", "run_id": run_id, "status": status, "role": "assistant"}
    return {**body, "content": content}


def run(status: str, run_id: str = "run_1", **more: Any) -> JSON:
    return {"id": run_id, "object": "thread.run", "thread_id": "thread_1", "status": status, **more}


def grows(entry: JSON, step_id: str = "step_1", **more: Any) -> JSON:
    """The data of a step's delta, with one entry."""
    details = {"type": "tool_calls", "tool_calls": [entry]}
    return {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}, **more}


def says(text: Any = HOLE, message_id: str = "msg_1", **more: Any) -> JSON:
    """The data of a message's delta, with one text."""
    content = [{"index": 0, "type": "text", "text": {"value": text, **more}}]
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": content}}


def sail(index: int = 0, *, arguments: Any = HOLE, **more: Any) -> JSON:
    return {"index": index, "type": "function", **more, "function": {"arguments": arguments}}


def sums(index: int = 1, **more: Any) -> JSON:
    return {"index": index, "type": "code_interpreter", "code_interpreter": more or {"input": HOLE}}


def logs(index: int = 1, text: Any = HOLE) -> JSON:
    return sums(index, outputs=[{"index": 0, "type": "logs", "logs": text}])


def azure(index: int = 2, *, arguments: Any = HOLE) -> JSON:
    return {"index": index, "type": "azure_function", "azure_function": {"arguments": arguments}}


def calls(step_id: str = "step_1") -> list[JSON]:
    """The entries that open one call of each kind that grows."""
    return [
        {"index": 0, "id": f"call_{step_id}_0", "type": "function", "function": {"name": "sail", "arguments": ""}},
        {
            "index": 1,
            "id": f"call_{step_id}_1",
            "type": "code_interpreter",
            "code_interpreter": {"input": "", "outputs": [{"index": 0, "type": "logs", "logs": ""}]},
        },
        {
            "index": 2,
            "id": f"call_{step_id}_2",
            "type": "azure_function",
            "azure_function": {"name": "dig", "arguments": ""},
        },
    ]


def opening(step_id: str = "step_1", run_id: str = "run_1", **more: Any) -> list[bytes]:
    """The blocks after which the usual deltas of a step come."""
    created = step("in_progress", step_id, run_id=run_id, **more)
    opened = [written(STEP_DELTA, grows(call, step_id)) for call in calls(step_id)]
    return [written("thread.run.step.created", created), *opened]


def greeting(message_id: str = "msg_1", run_id: str = "run_1") -> list[bytes]:
    """The blocks after which the usual deltas of a message come."""
    return [written("thread.message.created", message("in_progress", message_id, run_id=run_id))]


USUAL: dict[str, tuple[str, JSON]] = {
    "arguments": (STEP_DELTA, grows(sail())),
    "arguments_with_id": (STEP_DELTA, grows(sail(id="call_step_1_0"))),
    "arguments_of_azure": (STEP_DELTA, grows(azure())),
    "input": (STEP_DELTA, grows(sums())),
    "logs": (STEP_DELTA, grows(logs())),
    "word": (MESSAGE_DELTA, says()),
}
"""The deltas that are learned, with a hole where the piece stands."""

PIECES = {
    "word": b"fog",
    "empty": b"",
    "colon": b":",
    "colon_and_space": b": ",
    "colons": b":::",
    "quote": rb"\"",
    "quoted_colon": rb"\":\"",
    "quoted_colon_and_space": rb"\": \"",
    "backslash": rb"\\",
    "backslash_and_quote": rb"\\\"",
    "brackets": b"}]}}[[{{",
    "escape": rb"\u00e9",
    "escaped_quote": rb"\u0022",
    "slash": rb"\/",
    "surrogates": rb"\ud83c\udf2b",
    "unicode": "é🌫".encode(),
    "delete": b"\x7f",
    "separator": "\u2028\u0085".encode(),
    "json": rb"{\"a\": [1, \"b\"]}",
    "probe": b"?",
    "other_probe": b"!",
}
"""The inside of JSON strings, as it may stand between quotes."""

BROKEN = {
    "lone_backslash": b"\\",
    "unknown_escape": rb"\x",
    "high_surrogate": rb"\ud83c",
    "low_surrogate": rb"\udf2b",
    "half_an_escape": rb"\u00",
    "line_feed": b"a\nb",
    "carriage_return": b"a\rb",
    "blank_line": b"a\n\nb",
    "crlf": b"a\r\nb",
    "nul": b"\0",
    "tab": b"\t",
    "bad_utf_8": b"\xff",
    "half_a_character": "é".encode()[:1],
    "encoded_surrogate": b"\xed\xa0\x80",
    "quote": b'"',
    "quotes": b'""',
    "second_member": b'x","y',
    "second_member_with_value": b'x","y":"z',
    "second_member_again": b'x","arguments":"z',
    "second_field": b'x","output":"z',
    "end_of_the_object": b'x"}}]}}}',
    "mark_of_a_field": b"x\ndata: y",
}
"""What is no inside of a JSON string."""


# Random streams

ENDS = (b"event: done\ndata: [DONE]\n\n", b"event: error\ndata: x\n\n")

MUTANTS = b'"\\:{},[]? \n\r\x00\xff\xc3a1edx'


def mutated(block: bytes, chance: random.Random) -> bytes:
    """The block with some bytes flipped, added or lost; mostly in its data."""
    found = bytearray(block)
    begin = max(found.find(b"data:"), 0) if chance.random() < 0.9 else 0
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        place = (
            chance.randint(min(begin, len(found)), len(found))
            if chance.random() < 0.5
            else len(found) - chance.randint(3, 30)
        )
        place = min(max(place, 0), max(len(found) - 1, 0))
        match chance.randrange(3):
            case 0:
                found[place : place + 1] = bytes([chance.choice(MUTANTS)])
            case 1:
                found.insert(place, chance.choice(MUTANTS))
            case _:
                del found[place : place + chance.choice([1, 1, 2, 9])]
    return bytes(found)


def rewritten(block: bytes, chance: random.Random) -> bytes:
    """The block, written as servers may also write it: mostly as the same event."""
    name, _, data = block.removeprefix(b"event: ").removesuffix(b"\n\n").partition(b"\ndata: ")
    match chance.randrange(10):
        case 0:
            return block.replace(b"\n", b"\r\n")
        case 1:
            return block.replace(b"\n", b"\r")
        case 2:
            return b"event:%b\ndata:%b\n\n" % (name, data)
        case 3:
            return b"id: %d\n%b" % (chance.randrange(9), block)
        case 4:
            return block[:-1] + b": still here\nretry: 5\n\n"
        case 5:
            return b": still here\n\n" + block + b"\n" * chance.randint(0, 2)
        case 6:
            return b"data: %b\nevent: %b\n\n" % (data, name)
        case 7:
            cut = data.find(b",", chance.randrange(len(data) + 1)) + 1
            return b"event: %b\ndata: %b\n%b%b\n\n" % (name, data[:cut], chance.choice([b"data: ", b""]), data[cut:])
        case 8:
            return b"event: %b \ndata:  %b \n\n" % (name, data)
        case _:
            other = MESSAGE_DELTA if name == STEP_DELTA.encode() else STEP_DELTA
            return b"event: %b\ndata: %b\n\n" % (other.encode(), data)


UNUSUAL: tuple[tuple[str, JSON], ...] = (
    (STEP_DELTA, {"id": "step_1", "delta": None}),
    (STEP_DELTA, {"id": "step_1", "delta": {"step_details": {"type": "tool_calls", "tool_calls": []}}}),
    (STEP_DELTA, grows({**sail(), "id": "call_of_another"})),
    (STEP_DELTA, grows({**sail(), "type": "openapi"})),
    (STEP_DELTA, grows({"index": 0, "function": {"arguments": HOLE}})),
    (STEP_DELTA, grows({"index": 0, "type": "function", "function": {"arguments": HOLE, "output": HOLE}})),
    (STEP_DELTA, grows({"index": 0, "type": "function", "function": {"output": HOLE}})),
    (STEP_DELTA, grows({"index": 9, "type": "dowsing_rod", "dowsing_rod": {"twig": HOLE}})),
    (STEP_DELTA, grows({"index": -1, "type": "function", "function": {"arguments": HOLE}})),
    (STEP_DELTA, grows(sail(), "step_nobody_knows")),
    (STEP_DELTA, grows(sail(), note=HOLE)),
    (STEP_DELTA, {"note": HOLE, **grows(sail())}),
    (STEP_DELTA, {**grows(sail()), "delta": {**grows(sail())["delta"], "note": {"arguments": "x"}}}),
    (MESSAGE_DELTA, says(HOLE, annotations=[])),
    (MESSAGE_DELTA, says(HOLE, annotations=[{"index": 0, "type": "file_path", "text": HOLE}])),
    (MESSAGE_DELTA, {"id": "msg_1", "delta": {"role": "assistant", "content": []}}),
    ("thread.dream", {"id": "step_1"}),
    ("thread.message.in_progress", message("in_progress", text="said before")),
)


class Server:
    """A server that is mostly usual: the same seed writes the same blocks."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.separators = self.chance.choice([TIGHT, SPACED])
        self.steps = [f"step_{number}" for number in range(1, self.chance.randint(2, 4))]
        self.messages = ["msg_1", "msg_2"][: self.chance.randint(1, 2)]
        self.steadiness = self.chance.choice([0.6, 0.9, 0.98])
        self._now = self.chance.choice([*USUAL.values()])
        self._who = ""

    def stream(self, length: int) -> list[bytes]:
        """So many blocks, and those that open what grows before them."""
        blocks = [written("thread.run.created", run("queued"))]
        for name in self.steps:
            blocks += opening(name, self._run())
        for name in self.messages:
            blocks += greeting(name, self._run())
        deltas: list[bytes] = []
        for _ in range(length):
            one = self._usual() if self.chance.random() < self.steadiness or not deltas else self._odd(blocks, deltas)
            deltas.append(one)
            blocks.append(one)
        if self.chance.random() < 0.7:
            blocks.append(b"event: done\ndata: [DONE]\n\n")
        blocks += [self._usual() for _ in range(self.chance.choice([0, 0, 3]))]
        if self.chance.random() < 0.3:
            blocks[-1] = blocks[-1][: -self.chance.randint(1, 9)]
        return blocks

    def _run(self) -> str:
        return self.chance.choice(["run_1", "run_1", "run_2"])

    def _separators(self) -> tuple[str, str]:
        return self.separators if self.chance.random() < 0.97 else self.chance.choice([TIGHT, SPACED])

    def _piece(self) -> bytes:
        chance = self.chance
        if chance.random() < 0.5:
            return b"%d " % chance.randrange(100)
        return chance.choice([*PIECES.values()] if chance.random() < 0.9 else [*BROKEN.values()])

    def _usual(self) -> bytes:
        if self.chance.random() < 0.3:
            self._now = self.chance.choice([*USUAL.values()])
            self._who = self.chance.choice(self.steps)
        name, body = self._now
        who = self.chance.choice(self.messages) if name == MESSAGE_DELTA else self._who or self.steps[0]
        return written(name, {**body, "id": who}, self._piece(), separators=self._separators())

    def _odd(self, blocks: list[bytes], deltas: list[bytes]) -> bytes:
        chance = self.chance
        name = chance.choice(self.steps)
        match chance.randrange(12):
            case 0 | 1 | 2:
                return mutated(chance.choice(deltas[-8:]), chance)
            case 3 | 4:
                return rewritten(chance.choice(deltas[-8:]), chance)
            case 5:
                return chance.choice(blocks)
            case 6 | 7:
                event, body = chance.choice(UNUSUAL)
                return written(event, body, self._piece(), separators=self._separators())
            case 8:
                status = chance.choice([*["in_progress"] * 4, "completed", "failed", "dreaming"])
                kind = chance.choice(["tool_calls", "tool_calls", None, "message_creation"])
                body = step(status, name, run_id=self._run(), type=kind)
                if chance.random() < 0.5:
                    body["step_details"] = {"type": "tool_calls", "tool_calls": [calls(name)[0]]}
                return written(f"thread.run.step.{status}", body)
            case 9:
                return written(STEP_DELTA, grows({**chance.choice(calls(name)), "index": chance.randrange(5)}, name))
            case 10:
                status = chance.choice(["in_progress", "in_progress", "completed"])
                return written(f"thread.run.{status}", run(status, self._run()))
            case _:
                return chance.choice([b"\n", b": \n", b"\n\n\n", b"data: x\n\n", b"garbage", *ENDS])


def chunked(blocks: Sequence[bytes], seed: int) -> list[bytes]:
    """The bytes of the blocks in chunks: one for each block, or cut anywhere, or next to line ends, or not at all."""
    chance = random.Random(seed)
    data = b"".join(blocks)
    match chance.randrange(5):
        case 0:
            return list(blocks)
        case 1:
            return [data]
        case 2:
            few = chance.randint(1, 5)
            return [b"".join(blocks[start : start + few]) for start in range(0, len(blocks), few)]
        case 3:
            size = chance.choice([1, 7, 100, 700])
            cuts = [*range(size, len(data), size)]
        case _:
            ends = [place for place, byte in enumerate(data) if byte in b"\r\n"] or [0]
            cuts = [chance.choice(ends) + chance.randint(-1, 3) for _ in range(len(blocks))]
            cuts = sorted({min(max(cut, 0), len(data)) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
