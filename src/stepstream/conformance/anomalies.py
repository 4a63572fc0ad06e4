"""The anomalies of the fold as deviations, and which of two tells of a cause that both have seen."""

from collections.abc import Iterable, Mapping
from typing import Final

from stepstream.conformance.deviation import Deviation, Finding, shown
from stepstream.fold.changes import Anomaly

FIELD_CODES: Final = frozenset({"missing_field", "null_field", "wrong_type"})

TOLD_BY: Final[Mapping[str, frozenset[str]]] = {
    "undecodable_event": FIELD_CODES,
    "status_mismatch": frozenset({"status_mismatch", "unknown_status"}),
}
"""Anomalies that are not reported where a finding with one of these codes says it better."""

TELLS: Final = frozenset({"bad_index", "malformed_delta"})
"""Anomalies that say it better than findings about fields."""

REPEATS: Final = frozenset({"conflicting_terminal", "duplicate_terminal", "status_regression"})
"""What is said of an object after its end. It is then not compared with the events before as well."""

REJECTIONS: Final = frozenset(
    {"bad_index", "delta_after_terminal", "id_conflict", "malformed_delta", "orphan_overflow", "type_conflict"}
)
"""Anomalies of a delta that was not folded: the sum of the deltas is not known any more."""

CONSEQUENCES: Final = frozenset({"delta_before_created", "type_conflict"})
"""Anomalies that follow from what was reported of the object before."""

_EXPECTED: Final[Mapping[str, str]] = {
    "orphan_overflow": "an object before its deltas",
    "too_deep": "JSON of at most 64 levels",
    "undecodable_event": "JSON",
}
"""What was expected, where the words of the anomaly only say what came."""

_GOT: Final[Mapping[str, str]] = {
    "delta_after_terminal": "more",
    "delta_before_created": "the delta first",
    "duplicate_created": "another",
    "duplicate_terminal": "another",
}
"""What came, where the words of the anomaly leave it out."""


def unique(findings: list[Finding], anomalies: list[Anomaly]) -> tuple[list[Finding], list[Anomaly]]:
    """Return findings and anomalies of one event without those that tell of the same cause twice."""
    codes = {finding.code for finding in findings}
    if any(anomaly.code in TELLS for anomaly in anomalies):
        findings = [finding for finding in findings if finding.code not in FIELD_CODES]
    return findings, [one for one in anomalies if codes.isdisjoint(TOLD_BY.get(one.code, ()))]


def deviations_of(anomalies: Iterable[Anomaly]) -> list[Deviation]:
    """Return anomalies as deviations."""
    return [_deviation(anomaly) for anomaly in anomalies]


def _deviation(anomaly: Anomaly) -> Deviation:
    identifier = shown(anomaly.id) if anomaly.id is not None else None
    return Deviation(anomaly.sequence, shown(anomaly.event), anomaly.code, identifier, *_words(anomaly))


def _words(anomaly: Anomaly) -> tuple[str, str]:
    """Return what was expected and what came. Not every anomaly says both."""
    text = anomaly.text
    if not text.lower().startswith("expected "):
        return _EXPECTED.get(anomaly.code, "the data of its event"), text
    expected, _, got = text[len("expected ") :].partition(", got ")
    return expected, got or _GOT.get(anomaly.code, "something else")
