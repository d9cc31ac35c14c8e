"""The role of reporters; defined here because a reporter is given a `Run`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from saeviz.results.run import Run


@runtime_checkable
class Reporter(Protocol):
    """Writes a report of a finished run."""

    def write(self, run: Run) -> Path:
        """Write the report and return the path of the file to open."""
        ...
