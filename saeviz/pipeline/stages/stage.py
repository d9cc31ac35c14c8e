"""What a stage of a run is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from saeviz.pipeline.session import Session


class Stage(ABC):
    """One step: reads files of the run directory, writes files of the run directory."""

    name: str

    def applies(self, session: Session) -> bool:  # noqa: ARG002
        """Whether a run has this stage at all."""
        return True

    def check(self, session: Session) -> None:  # noqa: B027  most lack nothing
        """Raise `ConfigError` for what it lacks, such as a key that is not set; nothing is run for it."""

    def estimate(self, session: Session, redo: Collection[str]) -> str:  # noqa: ARG002
        """In words, what running it takes where the stages `redo` are run again; nothing is written or sent."""
        return "would run"

    @abstractmethod
    def identity(self, session: Session) -> Any:
        """Everything its outcome depends on, JSON-able; its digest decides whether it runs again."""

    @abstractmethod
    def is_complete(self, session: Session) -> bool:
        """Whether its output is there and whole, given that its digest has not changed."""

    def reset(self, session: Session) -> None:  # noqa: B027
        """Forget output that no longer holds, because the digest changed or the user asked for it.

        Nothing, unless a stage says otherwise: its files are replaced whole.
        """

    @abstractmethod
    def run(self, session: Session) -> Mapping[str, Any]:
        """Do what is left to do and give what the manifest shall say of it.

        `outputs` are the files that its results are in; the manifest keeps their digests instead, and a stage whose
        files are no longer as it left them is run again.
        """
