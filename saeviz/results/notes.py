"""What people noted about the features of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from saeviz.formats.notes import NotesFile
from saeviz.values.features import Feature
from saeviz.values.naming import FeatureLabel
from saeviz.values.notes import Note


class Notes(Mapping[Feature, Note]):
    """The notes of a run by feature; a feature about which nothing is noted is absent.

    They are read again when the file has changed, since people write while a run is looked at. `extractor` is the
    digest of what the run extracted its features with.
    """

    def __init__(
        self,
        path: Path,
        feature: Callable[[Feature | str], Feature],
        extractor: str = "",
        refuse_changes: Callable[[], None] = lambda: None,
    ) -> None:
        self._file, self._feature, self._refuse_changes = NotesFile(path, extractor), feature, refuse_changes
        self._stamp: tuple[int, int] | None = None
        self._known: tuple[dict[Feature, Note], dict[Feature, Note]] = ({}, {})

    def __getitem__(self, feature: Feature) -> Note:
        return self._read()[0][feature]

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._read()[0])

    def __len__(self) -> int:
        return len(self._read()[0])

    def __repr__(self) -> str:
        return f"Notes({len(self)} feature{'s' * (len(self) != 1)})"

    @property
    def labels(self) -> dict[Feature, FeatureLabel]:
        """The labels and descriptions by hand; of a feature of which only one was corrected, the other is ''."""
        return {
            feature: FeatureLabel(note.label, note.description)
            for feature, note in self.items()
            if note.label or note.description
        }

    @property
    def earlier(self) -> dict[Feature, Note]:
        """Notes from when the run had another extractor, in which these numbers were of other features."""
        return dict(self._read()[1])

    def write(
        self,
        feature: Feature | str,
        *,
        label: str | None = None,
        description: str | None = None,
        mark: str | None = None,
        text: str | None = None,
        was: str | None = None,
    ) -> Note:
        """Note something about a feature, and return all that is noted about it now; '' removes what was noted.

        What is not given stays as it is. The note is on disk when this returns. With `was`, the `version` of the note
        that the writer has seen, `NoteChangedError` is raised if somebody else has changed it since. `ValueError` is
        raised for a label that is not 1 to 5 words, an unknown mark and text that is too long, `ConfigError` in a run
        that was opened by its address in an object store.
        """
        self._refuse_changes()
        given = {"label": label, "description": description, "mark": mark, "text": text}
        changes = {name: value for name, value in given.items() if value is not None}
        return self._file.write(self._feature(feature), changes, was)

    def _read(self) -> tuple[dict[Feature, Note], dict[Feature, Note]]:
        stamp = self._file.stamp()
        if stamp != self._stamp:
            found = self._file.read_all()
            own, others = ({one: note for one, note in part.items() if not note.is_empty} for part in found)
            self._known, self._stamp = (own, others), stamp
        return self._known
