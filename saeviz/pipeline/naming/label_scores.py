"""Which labels have to be scored on which held-out images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from saeviz.config.schema import ComponentConfig
from saeviz.contract.roles import LabelJudge, MeteredJudge
from saeviz.formats.label_scores import LABEL_SCORES, LabelScores
from saeviz.formats.labels import LabelLine
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.held_out import images_to_rate
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel

AT_ONCE = 48
"""Images of one call of a judge that costs something: what is lost if it fails, or the run is killed."""


class Unscored(NamedTuple):
    """A label by its key, and images on which it has no score yet."""

    key: str
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

    def waiting(self, judge: LabelJudge) -> dict[str, Unscored]:
        """What the judge has to be asked: labels without a score on some image, a part of these images at a time."""
        calls = {}
        for key, line in self.labels.items():
            known = self.kept[key].scores if key in self.kept else {}
            missing = tuple(item for item in self.images if item.item_id not in known)
            step = AT_ONCE if isinstance(judge, MeteredJudge) else max(1, len(missing))
            for start in range(0, len(missing), step):
                calls[f"{key} {start}"] = Unscored(key, line, missing[start : start + step])
        return calls

    @classmethod
    def of(cls, session: Session, config: ComponentConfig, lines: Iterable[LabelLine]) -> ScoreSheet:
        """The sheet of these labels; those without words are left out."""
        made_by = [session.components.identity(config), session.dataset.data_digest]
        named = [line for line in lines if line.label.label]
        labels = {
            digest_of([made_by, str(line.feature), line.label.label, line.label.description]): line for line in named
        }
        known = LABEL_SCORES.read(session.rundir.label_scores)
        kept = {key: known[line.feature] for key, line in labels.items() if line.feature in known}
        return cls(labels, images_to_rate(session), {key: one for key, one in kept.items() if one.key == key})
