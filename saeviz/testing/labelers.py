"""The contract of labelers, as a test suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import ConcurrentLabeler, Labeler, LabelJudge, MeteredJudge, MeteredLabeler
from saeviz.formats.accuracy import area_under_curve
from saeviz.formats.judgements import APPLIES
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, assert_names, needs
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.fakes import COLOURS
from saeviz.values.checks import kind_of
from saeviz.values.errors import ConfigError, LabelError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel, LabelRequest, TopImage, Usage

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

MakeLabeler = Callable[[Context], Labeler]
OF_A_JUDGE = Feature(2, "cls", 5)
"""A feature to name in messages."""
HOSTILE_WORDS = ("<script>", "{label}", "\x00\n", "\U0001f408 \u732b", "x" * 5000, "the of", "'\"")


class LabelerContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the labeler from a context.

    The context's peers are a `FakeExtractor`, which has a joint embedding of pictures and colour words, and the images.
    For a labeler that uses a web service, replace the client. Set `deterministic = False` for a labeler whose answers
    vary.
    """

    subject = "labeler"
    deterministic: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> MakeLabeler:
        """Builds the labeler under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def request_of_colours(self) -> LabelRequest:
        """A request to name a feature whose top images mostly share one colour."""
        items = pictures(24)
        colours = [item.metadata["colour"] for item in items]
        frequent = max(sorted(set(colours)), key=colours.count)
        return label_request(sorted(items, key=lambda item: item.metadata["colour"] != frequent))

    @pytest.fixture
    def surroundings(self, tmp_path: Path, request_of_colours: LabelRequest) -> Surroundings:
        """The labeler's context, and the failures that it reports."""
        return Surroundings(tmp_path, request_of_colours.dataset)

    @pytest.fixture
    def labeler(self, make: MakeLabeler, surroundings: Surroundings) -> Labeler:
        """The labeler under test."""
        return make(surroundings.context)

    def test_is_a_labeler(self, labeler: Labeler) -> None:
        self.assert_is(labeler, Labeler)

    def test_gives_a_label_that_fits_the_tables(self, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        label = named(labeler, request_of_colours)
        assert label.label, "no name for a feature that fires on one colour"
        assert_is_label(label)

    @needs(declared="deterministic")
    def test_says_the_same_twice(
        self, make: MakeLabeler, labeler: Labeler, surroundings: Surroundings, request_of_colours: LabelRequest
    ) -> None:
        first = named(labeler, request_of_colours)
        assert_equal(named(labeler, request_of_colours), first, "the label of the same request from the same labeler")
        another = make(surroundings.context)
        assert_equal(named(another, request_of_colours), first, "the label of the same request from another labeler")

    @needs(declared="deterministic")
    def test_an_earlier_request_does_not_matter(
        self, make: MakeLabeler, labeler: Labeler, surroundings: Surroundings, request_of_colours: LabelRequest
    ) -> None:
        others = list(request_of_colours.dataset)[::-1]
        named(make(surroundings.context), request_of_colours)
        other = replace(request_of_colours, top=[TopImage(item, 1.0) for item in others[:4]], contrast=others[4:8])
        named(labeler, other)
        expected = named(make(surroundings.context), request_of_colours)
        assert_equal(named(labeler, request_of_colours), expected, "the label of a request after another one")

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

    @pytest.fixture
    def judge(self, labeler: Labeler) -> LabelJudge:
        """The labeler as a judge."""
        assert isinstance(labeler, LabelJudge), "the labeler has no judge"
        return labeler

    @needs(ConcurrentLabeler)
    def test_says_how_many_calls_may_be_made_at_once(self, labeler: Labeler) -> None:
        assert isinstance(labeler, ConcurrentLabeler), "the labeler has no concurrency"
        handover.count("the labeler", "concurrency", labeler.concurrency)

    @needs(MeteredLabeler)
    def test_says_what_it_will_cost_and_what_it_has_cost(
        self, labeler: Labeler, request_of_colours: LabelRequest
    ) -> None:
        assert isinstance(labeler, MeteredLabeler), "the labeler has no estimate or no usage"
        estimates = [
            handover.usage("the labeler", "estimate", labeler.estimate([request_of_colours] * n)) for n in (0, 1, 2)
        ]
        assert_estimates(estimates, "estimate", "name")
        before = handover.usage("the labeler", "usage", labeler.usage)
        named(labeler, request_of_colours)
        after = handover.usage("the labeler", "usage", labeler.usage)
        assert after.calls > before.calls, (
            f"usage.calls was {before.calls} before a label and is {after.calls} after it"
        )
        assert all(one >= other for one, other in zip(after, before, strict=True)), (
            f"usage was {before} before a label and is {after} after it; no number may become smaller"
        )

    @needs(MeteredJudge)
    def test_says_what_judging_will_cost(self, labeler: Labeler) -> None:
        assert isinstance(labeler, MeteredJudge), "the labeler has no estimate_judging"
        estimates = [
            handover.usage("the labeler", "estimate_judging", labeler.estimate_judging(n)) for n in ([], [20], [20, 20])
        ]
        assert_estimates(estimates, "estimate_judging", "judge")

    @needs(LabelJudge)
    def test_judges_its_own_label(self, judge: LabelJudge, labeler: Labeler, request_of_colours: LabelRequest) -> None:
        label = named(labeler, request_of_colours)
        images = list(request_of_colours.dataset)
        assert_are_scores(scores_of(judge, FeatureLabel(label.label, label.description), images), len(images))
        assert_are_scores(scores_of(judge, label, []), 0)

    @needs(LabelJudge)
    @pytest.mark.parametrize("colour", COLOURS)
    def test_tells_where_words_apply(self, judge: LabelJudge, request_of_colours: LabelRequest, colour: str) -> None:
        images = list(request_of_colours.dataset)
        is_there = [item.metadata["colour"] == colour for item in images]
        scores = scores_of(judge, FeatureLabel(colour), images)
        right = [float(score) for score, there in zip(scores, is_there, strict=True) if there]
        wrong = [float(score) for score, there in zip(scores, is_there, strict=True) if not there]
        area = area_under_curve(right, wrong)
        assert area > 0.9, (
            f"judge ranks {colour} pictures with an area under the curve of {area:.2f}; above 0.9 is expected"
        )
        for of_kind, kind, applies in ((right, colour, True), (wrong, f"not {colour}", False)):
            rightly = sum((score >= APPLIES) == applies for score in of_kind)
            assert rightly > len(of_kind) / 2, (
                f"judge says rightly of {rightly} of {len(of_kind)} pictures that are {kind} whether {colour!r} "
                f"applies, a score of {APPLIES} or more; more than half are expected"
            )

    @needs(LabelJudge, declared="deterministic")
    def test_judges_by_words_and_pictures_only(
        self, make: MakeLabeler, judge: LabelJudge, surroundings: Surroundings, request_of_colours: LabelRequest
    ) -> None:
        """Not by the order of the images, their ratings, or earlier questions."""
        import numpy as np

        images = list(request_of_colours.dataset)
        scores = scores_of(judge, FeatureLabel("red"), images)
        scores_of(judge, FeatureLabel("blue"), images[:5])
        unrated = [replace(item, ratings={}) for item in images]
        another = make(surroundings.context)
        assert isinstance(another, LabelJudge), "the labeler has no judge when it is built again"
        for again, what in (
            (scores_of(judge, FeatureLabel("red"), unrated[::-1]), "in another order and without their ratings"),
            (scores_of(another, FeatureLabel("red"), images[::-1]), "in another order, by another judge,"),
        ):
            assert np.allclose(again, scores[::-1], atol=1e-6, rtol=1e-7, equal_nan=True), (
                f"the same images {what} have other scores, by up to {np.nanmax(np.abs(again - scores[::-1])):.2g}"
            )

    @needs(LabelJudge)
    def test_an_unreadable_picture_leaves_the_others_judged(
        self, judge: LabelJudge, request_of_colours: LabelRequest
    ) -> None:
        images = list(request_of_colours.dataset)
        broken = replace(images[3], item_id="broken", source=b"not a picture")
        scores = scores_of(judge, FeatureLabel("red"), [*images[:3], broken, *images[4:]])
        assert_are_scores(scores, len(images), may_lack=[3])

    @needs(LabelJudge)
    @pytest.mark.parametrize("text", HOSTILE_WORDS)
    def test_judges_hostile_words_or_says_why_not(
        self, judge: LabelJudge, request_of_colours: LabelRequest, text: str
    ) -> None:
        images = list(request_of_colours.dataset)
        try:
            scores = scores_of(judge, FeatureLabel(text, text), images)
        except LabelError as error:
            assert_names(error, "")
        else:
            assert_are_scores(scores, len(images))


def named(labeler: Labeler, request: LabelRequest) -> FeatureLabel:
    """What the labeler names the feature of a request."""
    label = labeler.label(request)
    assert isinstance(label, FeatureLabel), f"label returned {kind_of(label)}; a saeviz.FeatureLabel was expected"
    return label


def scores_of(judge: LabelJudge, label: FeatureLabel, images: Sequence[ImageItem]) -> FloatArray:
    """The scores that the judge gives, checked as in a run: one of each image, from 0 to 1 or NaN."""
    return handover.judged("the labeler", OF_A_JUDGE, judge.judge(label, images), len(images))


def assert_estimates(estimates: Sequence[Usage], method: str, verb: str) -> None:
    """Assert that estimates for nothing, one and two are zero, and no less for more."""
    none, one, two = estimates
    assert none == Usage(), f"{method} says that it costs {none} to {verb} nothing; {Usage()} is expected"
    assert all(few <= more for few, more in zip(one, two, strict=True)), (
        f"{method} says {one} for one and {two} for two; no number may be smaller for more"
    )


def assert_are_scores(scores: FloatArray, n: int, may_lack: Sequence[int] = ()) -> None:
    """Assert that there is a number from 0 to 1 for each of `n` images; NaN is allowed at positions in `may_lack`."""
    found = handover.judged("the labeler", OF_A_JUDGE, scores, n)
    lacking = [place for place, score in enumerate(found.tolist()) if isnan(score) and place not in may_lack]
    assert not lacking, f"the images at {lacking} have no score"


def assert_is_label(label: FeatureLabel) -> None:
    """Assert that a run keeps every field as it is: a name of a few words, without markup and line breaks."""
    kept = handover.label("the labeler", label, OF_A_JUDGE)
    for name in ("label", "description", "why", "elements", "confidence"):
        given, stays = getattr(label, name), getattr(kept, name)
        assert (tuple(given) if name == "elements" else given) == stays, (
            f"the label's {name} is {quoted(given)}, of which a run keeps {quoted(stays)}: a name has a few words, "
            "text no markup and no line break, and a confidence is from 0 to 1, or None"
        )


def assert_label_or_reason(labeler: Labeler, request: LabelRequest) -> None:
    """A label, perhaps an empty one, or a `LabelError` that names the feature.

    A `ConfigError`, which ends the run, will do as well: no image may have what the labeler reads.
    """
    try:
        label = named(labeler, request)
    except LabelError as error:
        assert_names(error, str(request.feature))
    except ConfigError as error:
        assert_names(error, "")
    else:
        assert_is_label(label)
