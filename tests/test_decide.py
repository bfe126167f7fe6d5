"""Which masks the pipeline takes for masks on faces, and which it can complete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unmask.decide import LIMITS, Evidence, Limits, decide

CLEAR = Evidence(certainty=0.95, confidence=0.35, mouth=1.0, eyes=0.0, hole=0.2)


@pytest.mark.parametrize(
    ("certainty", "verdict", "confidence", "reason"),
    [
        (0.95, None, 0.3, ""),
        (0.95, None, 0.05, "no face around it"),
        (0.78, None, 0.2, "not surely a mask"),  # both only just
        (0.70, None, 0.9, "not surely a mask"),
        (0.62, 0.95, 0.13, ""),  # the verifier is sure
        (0.62, 0.95, 0.05, "no face around it"),
        (0.95, 0.30, 0.3, ""),  # it doubts, the others do not
        (0.97, 0.30, 0.13, ""),
        (0.80, 0.30, 0.13, "not surely a mask"),
        (0.70, LIMITS.accepted - 0.01, 0.5, "not surely a mask"),
        (0.99, LIMITS.refused - 0.01, 0.5, "not surely a mask"),
    ],
)
def test_mask_and_face_make_up_for_each_other(certainty, verdict, confidence, reason):
    seen = replace(CLEAR, certainty=certainty, verdict=verdict, confidence=confidence)
    assert decide(seen).reason == reason


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({}, "complete", ""),
        ({"mouth": 0.3}, "ignore", "the mouth is free"),
        ({"eyes": 0.8}, "ignore", "the eyes are covered"),
        ({"hole": 0.005}, "ignore", "too small"),
        ({"hole": 0.005, "given": True}, "ignore", "too small"),
        ({"confidence": 0.25, "spread": 0.02}, "leave", "turned or hidden too far"),
        ({"confidence": 0.31, "spread": 0.02}, "complete", ""),
        ({"confidence": 0.25, "spread": 0.01}, "complete", ""),
        ({"mouth": 0.0, "eyes": 1.0, "confidence": 0.0, "given": True}, "complete", ""),
    ],
)
def test_a_mask_is_where_a_mask_is_worn(change, outcome, reason):
    decision = decide(replace(CLEAR, **change))
    assert (decision.outcome, decision.reason) == (outcome, reason)


def test_other_limits_decide_otherwise():
    assert decide(replace(CLEAR, mouth=0.3), Limits(mouth=0.2)).outcome == "complete"
