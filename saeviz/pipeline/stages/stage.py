"""What a stage of a run is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from saeviz.pipeline.session import Session


class Stage(Protocol):
    """One step: reads files of the run directory, writes files of the run directory."""

    name: str

    def identity(self, session: Session) -> Any:
        """Everything its outcome depends on, JSON-able; its digest decides whether it runs again."""
        ...

    def is_complete(self, session: Session) -> bool:
        """Whether its output is there and whole, given that its digest has not changed."""
        ...

    def reset(self, session: Session) -> None:
        """Forget output that no longer holds, because the digest changed or the user asked for it."""
        ...

    def run(self, session: Session) -> Mapping[str, Any]:
        """Do what is left to do and give what the manifest shall say of it.

        `outputs` are the files that its results are in; the manifest keeps their digests instead, and a stage whose
        files are no longer as it left them is run again.
        """
        ...
