"""The builder of a snapshot: one step or one message, from its first event to its end.

Theory. What is known of an object stands in two places. `base` is the newest full object, a frozen struct. `tree` holds
the fields that deltas add to, in a form that can be appended to at a constant cost; it is made from `base` when the
first delta comes, and outdates those fields of `base` from then on. A snapshot is `base` with the tree frozen into it.
It is built when it is read and kept in `cached` until anything grows, so a reader pays once for all that came since.

    created {"step_details": {"tool_calls": []}}        base = that object, no tree
    delta   arguments "{"                               tree: step_details → tool_calls → 0 → arguments ["{"]
    delta   arguments "}"                               … arguments ["{", "}"]; snapshot() joins them: "{}"
    completed, arguments null                           base = terminal object; the tree restores "{}" in its place

Most full objects need no tree. One that differs from the last in its scalar fields only replaces `base`. A terminal
object that leaves out nothing of what was known (`covers`), as nearly all do, is all that is known from then on. The
tree that deltas built is dropped, and a late delta finds its way in one made of that object.

Two invariants. `cached` is None, or equal to what building now would give: every change sets or clears it. `version`
rises with every change but `append`: code that has found its way to a buffer of the tree (the fast path) may append to
it as long as the version is the one it has seen. A change that forgets either shows old snapshots or appends to a
buffer that is no longer in the tree.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET

from stepstream.fold.cause import TakenStatuses
from stepstream.fold.combining import COMPLETE, FILL, MERGE, SETTLE, SETTLE_ODD, SUPPLY, Effect, combine
from stepstream.fold.matching import contradicts, covers
from stepstream.fold.subjects import run_in
from stepstream.fold.tree import Node, TextBuffer, freeze, load_value
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep

Obj = TypeVar("Obj", RunStep, Message)

GROWN_FIELDS: Final[Mapping[type[Any], tuple[str, ...]]] = {RunStep: ("step_details",), Message: ("role", "content")}
"""The fields that deltas add to. All others come in full objects only."""

IDENTITY: Final = ("object", "created_at", "assistant_id", "thread_id", "run_id", "type")
"""The fields that never change: where a run, step or message belongs."""


class Append(NamedTuple):
    """What a delta did that did nothing but append to one text."""

    builder: "SnapshotBuilder[Any]"
    buffer: TextBuffer
    piece: str
    key: str
    """The key of the delta under which the piece stood."""


class ToldCall(msgspec.Struct, gc=False):
    """A tool call that was reported as started: the index, type and name that it had then."""

    index: int
    type: str
    name: str | None
    is_finished: bool = False
    """Whether it was reported as finished, too."""


class SnapshotBuilder(Generic[Obj]):
    """A step or message, and what deltas have added to it."""

    __slots__ = (
        "base", "cached", "counted_in", "created", "deltas", "ended", "grown", "run_key", "sent", "taken", "told",
        "version",
    )  # fmt: skip

    def __init__(self, base: Obj, run_key: str) -> None:
        self.base: Obj = base
        self.run_key = run_key
        """What it is kept and dropped with: `OF_RUN` and the id of its run, where it belongs to one."""
        self.deltas = 0
        """How many deltas came for it."""
        self.created = False
        """Whether its `created` event came."""
        self.ended = False
        self.sent: Obj | None = None
        """The terminal object as it was sent."""
        self.told: dict[str, ToldCall] = {}
        """The tool calls reported as started, by id, until the object ends."""
        self.taken: TakenStatuses | None = None
        """The statuses it took, once it took another than the first and the last."""
        self.counted_in: Any = None  # its run, where each delta of that is added up
        self.version = 0
        """Rises with every change but `append`."""
        self.grown: Node | None = None
        """The tree, where there is one; else `base` holds everything."""
        self.cached: Obj | None = None
        """The snapshot built last; None once something grew."""

    @property
    def run_id(self) -> str | None:
        """The id of the run that it belongs to: the one that it names, else the one that it is kept with."""
        return self.base.run_id or run_in(self.run_key)

    @property
    def tree(self) -> Node:
        """The fields that grow, to be read."""
        if self.grown is None:
            self.grown = _load(self.base)
        return self.grown

    def take_status(self, previous: str | None, status: str, *, ends: bool) -> str:
        """Record that its status is another one now, and return what stands behind that in the key of the transition.

        Nearly every object takes one status, and then another that ends it: for those nothing is kept.
        """
        if self.taken is None and (previous is None or (ends and status != previous)):
            return ""
        if self.taken is None:
            self.taken = TakenStatuses(previous)
        return self.taken.take(status)

    def set_tree(self, tree: Node) -> None:
        """Replace the fields that grow by `tree`."""
        self.grown = tree
        self._changed()

    def merge(self, delta: Node, *, has_repetitions: bool = False) -> Effect:
        """Add a delta that was checked, and return what it did. It may have several entries for one index."""
        self.cached = None
        effect = combine(self.tree, delta, MERGE, Effect(has_repetitions=has_repetitions))
        self.version += not effect.only_append
        return effect

    def fill(self, delta: Node) -> Effect:
        """Add of a late delta what the terminal object left null, and return what that did."""
        self._changed()
        return combine(self.tree, delta, FILL, Effect())

    def invalidate(self) -> None:
        """Let no code append any more that has found its way here: the object is not kept any longer."""
        self.version += 1

    def _changed(self) -> None:
        self.cached = None
        self.version += 1

    def append(self, text: TextBuffer, piece: str) -> None:
        """Add one more piece to one of its texts."""
        self.cached = None
        text.append(piece)

    def snapshot(self) -> Obj:
        """Return the object as of now."""
        if self.cached is None and self.grown is None:
            self.cached = self.base
        elif self.cached is None:
            grown = {field: freeze(value) for field, value in self.tree.items()}
            self.cached = msgspec.structs.replace(self.base, **grown)
        return self.cached

    def update(self, full: Obj) -> bool:
        """Take a full object on the way: its scalar fields, and of the rest what the fold lacks.

        Returns whether anything that deltas add to was added.
        """
        base, added = self.base, False
        grown = {field: getattr(base, field) for field in GROWN_FIELDS[type(base)]}
        if self.grown is None and full == base:
            self.base = msgspec.structs.replace(full, **grown)  # the newest number of two that are equal, 1 and 1.0
        else:
            if self.grown is not None or any(getattr(full, field) != known for field, known in grown.items()):
                added = combine(self.tree, _load(full), SUPPLY, Effect()).added
            pairs = zip(full.__struct_fields__, msgspec.structs.astuple(full), strict=True)
            unsaid = {field: getattr(base, field) for field, value in pairs if value is UNSET}
            self.base = self._of_run(msgspec.structs.replace(full, **(unsaid | grown)))
        self._changed()
        return added

    def settle(self, full: Obj, *, is_odd: bool) -> None:
        """Take the terminal object: it is final, but its run and what it left null stay as they are known.

        `is_odd`: some of it did not fit and was left out, which says no more than null does.
        """
        before, self.grown, base = self.grown, None, self.base
        is_covered = True
        for field in GROWN_FIELDS[type(full)]:
            value, known = getattr(full, field), getattr(base, field) if before is None else before.get(field)
            is_covered = is_covered and (value == known or covers(value, known))
        if before is None and not is_covered:
            before = _load(base)
        self.sent = full
        self.base = self.cached = self._of_run(identified(full, base) if is_odd else full)
        self.ended = True
        self.version += 1
        if before is not None and not is_covered:
            self.grown = _load(full)
            if combine(self.grown, before, SETTLE_ODD if is_odd else SETTLE, Effect()).added:
                self.cached = None

    def _of_run(self, full: Obj) -> Obj:
        """Return a newer object, of the run that is known where it names none: keys would be others without."""
        known = self.base.run_id
        return msgspec.structs.replace(full, run_id=known) if known and not full.run_id else full

    def knows(self, full: Obj) -> bool:
        """Return whether `full` holds nothing, nulls aside, that is not known."""
        now = self.snapshot()
        is_told = all(value == getattr(now, field) for field, value in _scalars(full) if not _is_null(value))
        return is_told and not contradicts(self.tree, _load(full))

    def complete(self, full: Obj) -> tuple[bool, bool]:
        """Take a second terminal object of the same status: it may fill what is null.

        Returns whether anything was filled, and whether it contradicts what is known.
        """
        before = self.snapshot()
        said = [(field, value) for field, value in _scalars(full) if not _is_null(value)]
        supplement = _load(full)
        combine(self.tree, supplement, COMPLETE, Effect())
        self._changed()
        self.base = msgspec.structs.replace(self.base, **{k: v for k, v in said if _is_null(getattr(before, k))})
        after = self.snapshot()
        against = any(value != getattr(after, field) for field, value in said)
        return after != before, against or contradicts(self.tree, supplement)


def identified(full: Any, known: Any) -> Any:
    """Return an object some of whose fields were left out, with those that never change as they are known."""
    lacking = [field for field in IDENTITY if getattr(full, field, None) is UNSET]
    return msgspec.structs.replace(full, **{field: getattr(known, field) for field in lacking})


def _is_null(value: object) -> bool:
    return value is None or value is UNSET


def _scalars(full: RunStep | Message) -> list[tuple[str, Any]]:
    """Return the fields that deltas do not add to."""
    grown = GROWN_FIELDS[type(full)]
    return [(field, getattr(full, field)) for field in full.__struct_fields__ if field not in grown]


def _load(full: RunStep | Message) -> Node:
    """Return the fields that grow, as a tree."""
    node = Node(type(full))
    for field in GROWN_FIELDS[type(full)]:
        value = getattr(full, field)
        if value is not UNSET:
            node[field] = load_value(node, field, value)
    return node
