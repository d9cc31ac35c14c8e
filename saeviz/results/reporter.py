"""The role that shows a finished run; it stands here because it is handed one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from saeviz.results.run import Run


@runtime_checkable
class Reporter(Protocol):
    """Shows a finished run."""

    def write(self, run: Run) -> Path:
        """Write the report and give the file to open."""
        ...
