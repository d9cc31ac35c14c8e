"""The base class of stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from saeviz.formats.rundir import digest_of
from saeviz.pipeline.session import Session


class Stage(ABC):
    """One step of a run: reads and writes files of the run directory."""

    name: str

    def applies(self, session: Session) -> bool:  # noqa: ARG002
        """Whether the run includes this stage."""
        return True

    def check(self, session: Session) -> None:  # noqa: B027  most lack nothing
        """Raise `ConfigError` if something is missing, such as an API key, without running anything."""

    def estimate(self, session: Session, redo: Collection[str]) -> str:  # noqa: ARG002
        """The cost of running it, in words, if the stages `redo` are run again; nothing is written or sent."""
        return "would run"

    @abstractmethod
    def identity(self, session: Session) -> Any:
        """Everything its results depend on, serialisable as JSON; if its digest changes, the stage runs again."""

    def digest(self, session: Session) -> str:
        """The digest of `identity`."""
        return digest_of([self.name, self.identity(session)])

    def forget_failures(self, session: Session) -> None:
        """Before the stage runs: what it left out is tried again."""
        session.rundir.failures.forget(self.name)

    @abstractmethod
    def is_complete(self, session: Session) -> bool:
        """Whether its output exists and is complete, given that the digest has not changed."""

    def tidy(self, session: Session) -> None:  # noqa: B027  most leave nothing
        """Remove what workers have left, of a stage that is up to date: a run was killed before it could."""

    def reset(self, session: Session) -> None:  # noqa: B027
        """Remove outdated output, because the digest changed or the user asked for it.

        Does nothing by default, because files are replaced as a whole.
        """

    @abstractmethod
    def run(self, session: Session) -> Mapping[str, Any]:
        """Do the remaining work and return the stage's record for the manifest.

        `outputs` lists the files with its results; the manifest stores their digests instead, and a stage whose files
        have changed is run again.
        """
