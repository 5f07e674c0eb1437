"""What one of the engine's events says."""

from __future__ import annotations

import time
from dataclasses import dataclass

from asupervisor.engine.session import Document
from asupervisor.translate.provenance import may_be_a_pods


@dataclass(frozen=True, slots=True)
class Told:
    """What an event says: what happened to which object, and how many seconds ago."""

    action: str
    any_id: str
    about_image: bool
    may_be_a_pods: bool
    age_s: float


def read_event(event: Document) -> Told | None:
    """Read an event; None for one that cannot be understood."""
    try:
        actor = event.get("Actor") or {}
        any_id, attributes = str(actor.get("ID") or event.get("id") or ""), actor.get("Attributes")
        # Of an event that is too long to be read the attributes are not known; then the reading
        # tells whose the container is.
        maybe_a_pods = attributes is None or may_be_a_pods([attributes.get("name")], attributes)
        happened_at_s = int(event.get("timeNano") or 0) / 1e9
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None
    action = str(event.get("Action") or event.get("status") or "").split(":")[0]
    about_image = event.get("Type") == "image"
    if not action or not (any_id or about_image):
        return None
    age_s = max(0.0, time.time() - happened_at_s) if happened_at_s else 0.0
    return Told(action, any_id, about_image, maybe_a_pods, age_s)
