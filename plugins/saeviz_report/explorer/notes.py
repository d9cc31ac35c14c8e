"""What people noted about features, as the viewer reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import saeviz
from saeviz_report.explorer.columns import Rows


def notes_of(run: saeviz.Run, rows: Rows) -> dict[str, dict[str, Any]]:
    """The notes by feature, and those of an earlier extractor, without those on features that the run does not have."""
    every = {"notes": run.notes, "earlier": run.notes.earlier}
    found = {
        which: {str(feature): asdict(note) for feature, note in notes.items() if rows.of(feature) is not None}
        for which, notes in every.items()
    }
    return {which: notes for which, notes in found.items() if notes}
