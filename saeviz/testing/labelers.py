"""What every labeler must do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from saeviz.context import Context
from saeviz.errors import ConfigError, LabelError
from saeviz.roles import Labeler, LabelJudge
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.types import FeatureLabel, ImageItem, LabelRequest, TopImage

MakeLabeler = Callable[[Context], Labeler]


class LabelerContract:
    """Subclass it and give the fixture `make`: a function of a context that builds the labeler.

    The context's peers are a `FakeExtractor`, which has a joint space of pictures and words for colours, and the
    images. A labeler of a web service is tested with its client replaced; one that draws lots says
    `deterministic = False`.
    """

    deterministic: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> MakeLabeler:
        """Builds the labeler under test."""
        raise NotImplementedError("give the fixture make")

    @pytest.fixture
    def request_of_colours(self) -> LabelRequest:
        """A feature whose top images are mostly of the most frequent colour of some pictures."""
        items = pictures(24)
        colours = [item.metadata["colour"] for item in items]
        frequent = max(sorted(set(colours)), key=colours.count)
        return label_request(sorted(items, key=lambda item: item.metadata["colour"] != frequent))

    @pytest.fixture
    def surroundings(self, tmp_path: Path, request_of_colours: LabelRequest) -> Surroundings:
        """Where it is, and what it reports as failed."""
        return Surroundings(tmp_path, request_of_colours.dataset)

    @pytest.fixture
    def labeler(self, make: MakeLabeler, surroundings: Surroundings) -> Labeler:
        """The labeler."""
        return make(surroundings.context)

    def test_is_a_labeler(self, labeler: Labeler) -> None:
        assert isinstance(labeler, Labeler)

    def test_gives_a_label_that_fits_the_tables(self, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        label = labeler.label(request_of_colours)
        assert label.label, "no name for a feature that fires on one colour"
        assert_is_label(label)

    def test_says_the_same_twice(
        self, make: MakeLabeler, labeler: Labeler, surroundings: Surroundings, request_of_colours: LabelRequest
    ) -> None:
        if not self.deterministic:
            pytest.skip("the labeler says that it is not deterministic")
        first = labeler.label(request_of_colours)
        assert labeler.label(request_of_colours) == first
        assert make(surroundings.context).label(request_of_colours) == first

    def test_an_earlier_request_does_not_matter(
        self, make: MakeLabeler, labeler: Labeler, surroundings: Surroundings, request_of_colours: LabelRequest
    ) -> None:
        if not self.deterministic:
            pytest.skip("the labeler says that it is not deterministic")
        others = list(request_of_colours.dataset)[::-1]
        make(surroundings.context).label(request_of_colours)
        other = replace(request_of_colours, top=[TopImage(item, 1.0) for item in others[:4]], contrast=others[4:8])
        labeler.label(other)
        assert labeler.label(request_of_colours) == make(surroundings.context).label(request_of_colours)

    def test_takes_what_there_is_or_says_why_not(self, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        bare = [replace(item, metadata={}) for item in request_of_colours.dataset]
        for request in (
            replace(request_of_colours, top=[]),
            replace(request_of_colours, top=list(request_of_colours.top)[:1]),
            replace(request_of_colours, contrast=[]),
            replace(request_of_colours, relations=[], scores={}),
            label_request(bare),
            label_request(pictures(1)),
        ):
            assert_label_or_reason(labeler, request)

    @pytest.mark.parametrize("n_broken", [1, 4])
    def test_unreadable_pictures_are_no_disaster(
        self, labeler: Labeler, request_of_colours: LabelRequest, n_broken: int
    ) -> None:
        top = list(request_of_colours.top)
        broken = [TopImage(replace(one.item, source=b"not a picture"), one.activation) for one in top[:n_broken]]
        assert_label_or_reason(labeler, replace(request_of_colours, top=[*broken, *top[n_broken:]]))

    def test_hostile_metadata_is_no_disaster(self, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        texts = [
            "",
            "   ",
            "<script>alert(1)</script>",
            "{label}",
            "\x00\n\t",
            "\U0001f408 \u732b",
            "x" * 5000,
            "10 % of 10",
        ]
        items = [
            replace(item, metadata={"title": texts[number % len(texts)], "colour": texts[-number % len(texts)]})
            for number, item in enumerate(request_of_colours.dataset)
        ]
        assert_label_or_reason(labeler, label_request(items))

    def test_judges_in_0_to_1(self, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        if not isinstance(labeler, LabelJudge):
            pytest.skip("the labeler does not judge (saeviz.LabelJudge)")
        import numpy as np

        label = labeler.label(request_of_colours)
        images: list[ImageItem] = [one.item for one in request_of_colours.top] + list(request_of_colours.contrast)
        scores = np.asarray(labeler.judge(label, images))
        assert scores.shape == (len(images),)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert np.asarray(labeler.judge(label, [])).shape == (0,)


def assert_is_label(label: FeatureLabel) -> None:
    """Whether every field is what the tables and the report expect."""
    assert isinstance(label, FeatureLabel)
    assert len(label.label.split()) <= 5
    assert label.label == label.label.strip()
    assert label.confidence is None or 0 <= label.confidence <= 1
    assert all(isinstance(element, str) for element in label.elements)
    assert json.loads(json.dumps(dict(label.details), allow_nan=False)) is not None


def assert_label_or_reason(labeler: Labeler, request: LabelRequest) -> None:
    """A label, perhaps an empty one, or a `LabelError` that names the feature.

    A `ConfigError`, which ends the run, will do as well: no image may have what the labeler reads.
    """
    try:
        label = labeler.label(request)
    except LabelError as error:
        assert str(request.feature) in str(error)  # noqa: PT017
    except ConfigError as error:
        assert str(error)  # noqa: PT017
    else:
        assert_is_label(label)
