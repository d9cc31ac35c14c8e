"""What the features of a run are called, and what the judge and people say of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from saeviz.formats.judgements import images_of, table_of
from saeviz.formats.label_scores import ratings_table
from saeviz.formats.labels import LABELS
from saeviz.formats.rundir import RunDir
from saeviz.results.lookup import has_label_ratings, rows_of
from saeviz.results.notes import Notes
from saeviz.values.features import Feature
from saeviz.values.keys import features_of
from saeviz.values.naming import FeatureLabel

if TYPE_CHECKING:
    import pandas as pd


class Names(ABC):
    """The part of a run that is about labels. What was judged is left out where the feature has another label since."""

    _rundir: RunDir

    @abstractmethod
    def _feature(self, feature: Feature | str) -> Feature:
        """The feature that is meant; raises `ConfigError` if the run does not have it."""

    @cached_property
    def labels(self) -> Mapping[Feature, FeatureLabel]:
        """The labels of features; empty in a run without a labeler."""
        self._rundir.verify(self._rundir.labels, "label")
        return {feature: line.label for feature, line in LABELS.read(self._rundir.labels).items()}

    @cached_property
    def notes(self) -> Notes:
        """What people noted about features: labels by hand, marks, text. `run.notes.write` notes something."""
        record = self._rundir.read_manifest()["stages"].get("extract", {})
        return Notes(self._rundir.notes, self._feature, record.get("digest", ""), self._rundir.refuse_changes)

    def name(self, feature: Feature | str) -> str:
        """The label of a feature: that by hand if there is one, else the labeler's; '' if it has none."""
        found = Feature.parse(feature) if isinstance(feature, str) else feature
        note, label = self.notes.get(found), self.labels.get(found)
        return (note.label if note else "") or (label.label if label else "")

    @cached_property
    def judgements(self) -> pd.DataFrame:
        """A row per judged label with verdict, balanced accuracy and its interval; empty without a judge.

        Verdicts on labels that a feature no longer has, because it was named again since, are left out.
        """
        self._rundir.verify(self._rundir.judgements, "judge")
        if not self._rundir.judgements.exists():
            return table_of([])
        return self._current(self._rundir.read_table(self._rundir.judgements, "judge"))

    def judgement_of(self, feature: Feature | str) -> dict[str, Any] | None:
        """The row of `judgements` for one feature as a dictionary; None if its label was not judged."""
        self._rundir.verify(self._rundir.judgements, "judge")
        if not self._rundir.judgements.exists():
            return None
        found = self._feature(feature)
        rows = rows_of(self._rundir, self._rundir.judgements, "judge", found)
        return next((row for row in rows if self._is_current(found, row)), None)

    @cached_property
    def judged_images(self) -> pd.DataFrame:
        """A row per image on which a label was judged: `item_id`, `kind`, `activation`, the judge's `score` (0 to 1).

        `kind` is `active`, `silent`, `hard` (silent, but similar to top images) or `seen` (shown to the labeler). The
        score is NaN if the image could not be judged. Empty without a judge.
        """
        self._rundir.verify(self._rundir.judgements, "judge")
        return images_of(self._rundir.judged, self._is_current)

    @cached_property
    def label_ratings(self) -> pd.DataFrame:
        """A row per label and rating: the correlation of the judge's scores of held-out images with the rating.

        Beside it, r of the feature on the same images. Empty in a run without `run.rating_images`.
        """
        if not has_label_ratings(self._rundir):
            return ratings_table([])
        return self._current(self._rundir.read_table(self._rundir.label_ratings, "judge-ratings"))

    def label_ratings_of(self, feature: Feature | str) -> list[dict[str, Any]]:
        """The rows of `label_ratings` for one feature, as dictionaries."""
        if not has_label_ratings(self._rundir):
            return []
        found = self._feature(feature)
        rows = rows_of(self._rundir, self._rundir.label_ratings, "judge-ratings", found)
        return [row for row in rows if self._is_current(found, row)]

    def forget_labels(self) -> None:
        """Read labels, and what was judged of them, again when they are next needed: they have changed on disk."""
        for name in ("labels", "judgements", "judged_images", "label_ratings"):
            self.__dict__.pop(name, None)

    def _current(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = zip(features_of(table), table.to_dict("records"), strict=True)
        return table.loc[[self._is_current(feature, row) for feature, row in rows]]

    def _is_current(self, feature: Feature, row: Mapping[str, Any]) -> bool:
        label = self.labels.get(feature)
        return label is not None and label.label == row["label"]
