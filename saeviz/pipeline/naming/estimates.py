"""What naming and judging would take, in words."""

from __future__ import annotations

from saeviz.pipeline.session import Session
from saeviz.values.naming import Usage

LATER = "what it costs is known once features are selected: --until select"


def is_selected(session: Session) -> bool:
    """Whether there are selected features of the extractor that the run has now."""
    record = session.rundir.read_manifest()["stages"].get("extract", {})
    return record.get("digest") == session.digests["extract"] and session.rundir.selected.exists()


def in_words(known: str, usage: Usage | None) -> str:
    """What is known, and what it takes where that costs anything."""
    if usage is None:
        return known
    return (
        f"{known}: about {usage.calls} calls with {usage.images} images, "
        f"{usage.input_tokens} tokens to send and {usage.output_tokens} to receive"
    )
