"""The anomalies of the fold as deviations, and which report is kept of a fault that was found twice.

The checks here read the JSON of an event, the fold reads it as typed structs; one fault may show in both. A step
without an `id` is a `missing_field` here and an `undecodable_event` there: the finding names the field, so it is kept.
A delta whose `arguments` are a number is a `wrong_type` here and a `malformed_delta` there: the anomaly says that
nothing of the delta was folded, so that is kept.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from stepstream.conformance.deviation import Deviation, Finding, shown
from stepstream.fold.anomalies import Anomaly, AnomalyCode

FIELD_CODES: Final = frozenset({"missing_field", "null_field", "wrong_type"})
"""Findings of `fields`: what a key holds, or that it is absent."""

COVERED_BY: Final[Mapping[AnomalyCode, frozenset[str]]] = {
    "undecodable_event": FIELD_CODES,
    "status_mismatch": frozenset({"status_mismatch", "unknown_status"}),
}
"""Anomalies that are not reported where a finding with one of these codes reports the same fault, more exactly."""

COVERING: Final[frozenset[AnomalyCode]] = frozenset({"bad_index", "malformed_delta"})
"""Anomalies that are reported in place of findings about fields: they say that the whole delta was rejected."""

REPEATS: Final[frozenset[AnomalyCode]] = frozenset({"conflicting_terminal", "duplicate_terminal", "status_regression"})
"""Anomalies of an object that comes after its end. Every difference to the events before follows from that."""

REJECTIONS: Final[frozenset[AnomalyCode]] = frozenset(
    {"bad_index", "delta_after_terminal", "id_conflict", "malformed_delta", "orphan_overflow", "type_conflict"}
)
"""Anomalies of a delta that was not folded. What its object should hold in the end is not known any more."""

CONSEQUENCES: Final[frozenset[AnomalyCode]] = frozenset({"delta_before_created", "type_conflict"})
"""Anomalies that may follow from an earlier fault of their object: an event of it that was lost or rejected."""


def unique(findings: list[Finding], anomalies: list[Anomaly]) -> tuple[list[Finding], list[Anomaly]]:
    """Return findings and anomalies of one event without what reports the same fault a second time."""
    codes = {finding.code for finding in findings}
    if any(anomaly.code in COVERING for anomaly in anomalies):
        findings = [finding for finding in findings if finding.code not in FIELD_CODES]
    return findings, [one for one in anomalies if codes.isdisjoint(COVERED_BY.get(one.code, ()))]


def deviations_of(anomalies: Iterable[Anomaly]) -> list[Deviation]:
    """Return anomalies as deviations."""
    return [_deviation(anomaly) for anomaly in anomalies]


def _deviation(anomaly: Anomaly) -> Deviation:
    identifier = shown(anomaly.id) if anomaly.id is not None else None
    return Deviation(anomaly.sequence, shown(anomaly.event), anomaly.code, identifier, anomaly.expected, anomaly.got)
