"""Is this a masked face? All limits of that decision, what they were fitted on, and the decision.

The pipeline asks once for each mask that was found, when every stage before the generator has
looked at it; a finder is told beforehand which scores are not worth a look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Limits:
    """What a masked face has to reach; all were fitted on photos that no training has seen.

    Attributes:
        candidate: Least mean probability of a mask's pixels that a verifier is asked about; with
            it a faint mask need not be missed. 58 validation photos.
        refused: A verifier's verdict below which nothing else is asked. Bold prints make it doubt,
            so that it has to be sure of a refusal. 58 masked photos and 120 bare faces.
        accepted: A verifier's verdict from which on the pixels need not be sure as well. Parts all
            but 2 of 110 bare faces (0.80 and 0.68) from the masks of 58 photos (0.67).
        certainty: Least mean probability of the mask's pixels, or score of a finder that has no
            verifier. 58 masked photos and 120 bare faces.
        together: The same plus `confidence_counts` times the landmarks' confidence is at least
            this: one has to make up for the other. The same photos.
        confidence_counts: See `together`; a factor.
        confidence: Least mean height of the heatmaps' peaks, 0 to 1: around a scarf or a patch on
            a suit they see no face. The same photos.
        mouth: Least share of the mouth's points under the mask, not all of them because a turned
            head's are not exact. What covers less is a lip, a beard or a collar. By eye.
        eyes: Greatest share of the eyes' points under it. What covers more is a patch on a suit, a
            cap or a hand. By eye.
        hole: Least share of the canonical crop that is mask, or there is nothing to uncover.
        spread: Greatest distance between the landmarks of three views, in shares of the crop's
            side, unless `clear` is reached: beyond it a head is turned away or hidden, and a
            frontal mouth would be painted on a cheek. By eye among 514 masks on real photos, with
            earlier landmarks, whose views differed more; on 506 photos it now leaves 5 as they are.
        clear: Confidence of the landmarks from which on their spread does not matter.
        same_face: Two masks whose faces' centres lie closer belong to one face, in shares of the
            crop's side. By eye.
    """

    candidate: float = 0.6
    refused: float = 0.1
    accepted: float = 0.66
    certainty: float = 0.75
    together: float = 1.15
    confidence_counts: float = 1.5
    confidence: float = 0.12
    mouth: float = 0.4
    eyes: float = 0.7
    hole: float = 0.01
    spread: float = 3.5 / 256
    clear: float = 0.3
    same_face: float = 0.3


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the stages know of one mask.

    Attributes:
        certainty: Mean probability of the mask's pixels, or a Mask R-CNN's score, 0 to 1.
        verdict: A verifier's probability that it is worn, 0 to 1; None without a verifier.
        confidence: Mean height of the landmarks' heatmap peaks, 0 to 1.
        spread: How far the landmarks of several views differ, in shares of the crop's side.
        mouth: Share of the mouth's points under the mask.
        eyes: Share of the eyes' points under it.
        hole: Share of the canonical crop that is mask, and in the photo.
        given: Whether somebody gave the mask: then it is one.
    """

    certainty: float
    verdict: float | None = None
    confidence: float
    spread: float = 0.0
    mouth: float
    eyes: float
    hole: float
    given: bool = False


@dataclass(frozen=True)
class Decision:
    """What follows for one mask.

    Attributes:
        outcome: "complete" it; "leave" it, a masked face that cannot be completed; or "ignore" it,
            no masked face.
        reason: Why it is not completed; empty otherwise.
    """

    outcome: Literal["complete", "leave", "ignore"]
    reason: str = ""


def decide(seen: Evidence, limits: Limits = LIMITS) -> Decision:
    """Say whether a mask is worn by a face, and whether that face can be completed, or why not.

    Example:
        >>> decide(Evidence(certainty=0.9, confidence=0.3, mouth=0.1, eyes=0.0, hole=0.2))
        Decision(outcome='ignore', reason='the mouth is free')
    """
    if seen.hole < limits.hole:
        return Decision("ignore", "too small")
    if seen.given:
        return Decision("complete")
    if seen.confidence < limits.confidence:
        return Decision("ignore", "no face around it")
    if not is_mask(seen.certainty, seen.verdict, seen.confidence, limits):
        return Decision("ignore", "not surely a mask")
    if seen.mouth < limits.mouth:
        return Decision("ignore", "the mouth is free")
    if seen.eyes > limits.eyes:
        return Decision("ignore", "the eyes are covered")
    if seen.spread > limits.spread and seen.confidence < limits.clear:
        return Decision("leave", "turned or hidden too far")
    return Decision("complete")


def is_mask(
    certainty: float, verdict: float | None, confidence: float = 1.0, limits: Limits = LIMITS
) -> bool:
    """Tell by the verifier, or else by the pixels and the face around them; as in `Evidence`.

    What is none at the highest confidence of the landmarks needs no landmarks.
    """
    if verdict is not None and verdict < limits.refused:
        return False
    if verdict is not None and verdict >= limits.accepted:
        return True
    together = certainty + limits.confidence_counts * confidence
    return certainty >= limits.certainty and together >= limits.together
