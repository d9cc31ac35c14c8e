"""What people noted about features, as the viewer reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import saeviz
from saeviz_report.explorer.columns import Rows


def notes_of(run: saeviz.Run, rows: Rows) -> dict[str, Any]:
    """The notes by feature, without those on features that the run does not have."""
    return {str(feature): asdict(note) for feature, note in run.notes.items() if rows.of(feature) is not None}
