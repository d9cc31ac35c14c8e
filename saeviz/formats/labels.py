"""`labels.jsonl`: a line per named feature, with a digest of the inputs of its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from saeviz.formats.lines import FeatureLines, checked_line
from saeviz.formats.plain import plain
from saeviz.values.features import Feature
from saeviz.values.keys import feature_of, key_of
from saeviz.values.naming import FeatureLabel


class ShownIds(NamedTuple):
    """The ids of the images shown to a labeler: top images, strongest first, and images without the feature."""

    top: tuple[str, ...]
    contrast: tuple[str, ...]


class LabelLine(NamedTuple):
    """One label. Two requests with the same `key` ask for the same thing; lines of earlier versions have no `shown`.

    `earlier` are the labels that the feature had before a labeler was asked again, the first one first.
    """

    feature: Feature
    key: str
    label: FeatureLabel
    shown: ShownIds | None = None
    earlier: tuple[FeatureLabel, ...] = ()

    @property
    def n_seen(self) -> int:
        """The number of top images the labeler used: as it reports, else all that it was given."""
        given = len(self.shown.top) if self.shown else 0
        told = self.label.details.get("top_images")
        return told if isinstance(told, int) and told >= 0 else given

    def before(self, label: FeatureLabel) -> tuple[FeatureLabel, ...]:
        """What is `earlier` than a label that takes the place of this one; the same label is not kept twice."""
        return self.earlier if label == self.label else (*self.earlier, self.label)

    def as_text(self) -> str:
        """One line of JSON."""
        row = {**key_of(self.feature), **_fields(self.label), "key": self.key}
        if self.shown is not None:
            row["shown"] = {"top": list(self.shown.top), "contrast": list(self.shown.contrast)}
        if self.earlier:
            row["earlier"] = [_fields(label) for label in self.earlier]
        return checked_line(row)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> LabelLine:
        """Parse a line."""
        shown = row.get("shown")
        return cls(
            feature_of(row),
            row["key"],
            _label(row),
            None if shown is None else ShownIds(tuple(shown["top"]), tuple(shown["contrast"])),
            tuple(map(_label, row.get("earlier", ()))),
        )


def _fields(label: FeatureLabel) -> dict[str, Any]:
    return {
        "label": label.label,
        "description": label.description,
        "elements": list(label.elements),
        "why": label.why,
        "confidence": plain(label.confidence),
        "details": plain(label.details),
    }


def _label(row: Mapping[str, Any]) -> FeatureLabel:
    return FeatureLabel(
        row["label"], row["description"], tuple(row["elements"]), row["why"], row["confidence"], row["details"]
    )


LABELS = FeatureLines(LabelLine.from_json, "label")
