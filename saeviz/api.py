"""saeviz from Python: one component by itself, or a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saeviz.context import Context
from saeviz.results import Run


def component(role: str, name: str, *, context: Context | None = None, **options: Any) -> Any:
    """Build one component by name, to use by itself: `saeviz.component("extractor", "vit-sae", ...)`."""
    raise NotImplementedError


def run(source: str | Path | dict[str, Any], **overrides: Any) -> Run:
    """Do everything that a run file asks for and give the finished run."""
    raise NotImplementedError


def open_run(directory: str | Path) -> Run:
    """Open a run directory for reading."""
    raise NotImplementedError
