"""Which labels have to be scored on which held-out images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from saeviz.config.schema import ComponentConfig
from saeviz.formats.label_scores import LabelScores, read_scores
from saeviz.formats.labels import LabelLine
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.held_out import images_to_rate
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel


class Unscored(NamedTuple):
    """A label, and the images on which it has no score yet."""

    line: LabelLine
    images: tuple[ImageItem, ...]

    @property
    def feature(self) -> Feature:
        """The feature, which the judge is not told."""
        return self.line.feature

    @property
    def words(self) -> FeatureLabel:
        """The label as given to the judge: only label and description."""
        return FeatureLabel(self.line.label.label, self.line.label.description)


@dataclass(frozen=True)
class ScoreSheet:
    """All labels by a digest of what they are scored with, the images, and the existing scores."""

    labels: Mapping[str, LabelLine]
    images: Sequence[ImageItem]
    kept: Mapping[str, LabelScores]

    @property
    def waiting(self) -> dict[str, Unscored]:
        """The labels without a score on some image."""
        sheet = {}
        for key, line in self.labels.items():
            known = self.kept[key].scores if key in self.kept else {}
            if missing := tuple(item for item in self.images if item.item_id not in known):
                sheet[key] = Unscored(line, missing)
        return sheet

    @classmethod
    def of(cls, session: Session, config: ComponentConfig, lines: Iterable[LabelLine]) -> ScoreSheet:
        """The sheet of these labels; those without words are left out."""
        made_by = [session.components.identity(config), session.dataset.data_digest]
        named = [line for line in lines if line.label.label]
        labels = {
            digest_of([made_by, str(line.feature), line.label.label, line.label.description]): line for line in named
        }
        known = read_scores(session.rundir.label_scores)
        kept = {key: known[line.feature] for key, line in labels.items() if line.feature in known}
        return cls(labels, images_to_rate(session), {key: one for key, one in kept.items() if one.key == key})

    def with_scores(self, key: str, scores: Mapping[str, float | None]) -> LabelScores:
        """The scores of a label, with those that it had."""
        line = self.labels[key]
        earlier = self.kept[key].scores if key in self.kept else {}
        return LabelScores(line.feature, line.label.label, key, {**earlier, **scores})
