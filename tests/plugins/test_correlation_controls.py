"""Controls of `partial`: categories coded in numbers, and a word where a number looks like such a code."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

import saeviz
from saeviz_correlation.options import PartialOptions
from saeviz_correlation.partial import Partial
from tests.plugins.correlations import make_input, score


def coded(n=300, seed=0, categories=4):
    """Features and a rating that both depend on a category whose codes are in no order of theirs."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(1, categories + 1, n)
    effect = np.array([0.0, 2.0, -1.0, 1.5, -2.0, 0.5] * 4)[codes]
    features = np.clip(effect[:, None] + generator.normal(size=(n, 6)), 0, None)
    ratings = {"liking": effect + generator.normal(size=n)}
    return features, ratings, codes


def partial(data, *control):
    scorer = Partial(PartialOptions(control=control), saeviz.Context())
    given = list(scorer.score(data))
    facts = {fact.name: fact.value for fact in scorer.combine(given) if isinstance(fact, saeviz.ScoreFact)}
    columns = {(column.name, column.target): column.values for column in given}
    return columns, facts


def test_a_category_coded_in_numbers_is_held_constant_as_one():
    features, ratings, codes = coded()
    named = {"code": [str(code) for code in codes], "kind": [f"kind {code}" for code in codes]}
    data = make_input(features, ratings, metadata=named)

    by_code, facts = partial(data, "category:code")
    by_name, _ = partial(data, "kind")
    linear, _ = partial(data, "code")

    np.testing.assert_allclose(by_code["partial_r", "liking"], by_name["partial_r", "liking"], atol=1e-12)
    assert np.abs(by_code["partial_r", "liking"] - linear["partial_r", "liking"]).max() > 0.1
    assert facts["partial_control"] == ["code (4 categories)"]
    assert saeviz.measure_of("partial_", facts) == "partial r (code (4 categories) held constant)"


def test_a_rating_can_be_a_category_and_is_then_not_correlated_with():
    features, ratings, codes = coded()
    as_rating = make_input(features, {**ratings, "code": codes.astype(float)})
    as_text = make_input(features, ratings, metadata={"code": [str(code) for code in codes]})

    found, _ = partial(as_rating, "category:code")
    expected, _ = partial(as_text, "category:code")

    assert {target for _, target in found} == {"liking"}
    np.testing.assert_allclose(found["partial_r", "liking"], expected["partial_r", "liking"], atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "warns"),
    [
        ([str(i % 4 + 1) for i in range(60)], True),
        ([f"{i % 12}.0" for i in range(60)], True),
        ([str(i % 13) for i in range(60)], False),
        ([str(i % 2) for i in range(60)], False),
        ([str(i % 4 + 0.5) for i in range(60)], False),
        (["" if i % 5 == 0 else str(i % 3) for i in range(60)], True),
    ],
)
def test_few_whole_numbers_are_said_to_look_like_a_code_once(caplog, cells, warns):
    generator = np.random.default_rng(0)
    data = make_input(generator.random((60, 2)), {"liking": generator.normal(size=60)}, metadata={"code": cells})

    with caplog.at_level(logging.WARNING, logger="saeviz"):
        scorer = Partial(PartialOptions(control=["code"]), saeviz.Context())
        list(scorer.score(data))
        list(scorer.score(data))

    said = [record.getMessage() for record in caplog.records if "category:code" in record.getMessage()]
    assert len(said) == warns


def test_a_column_that_is_really_called_so_is_meant():
    features, ratings, codes = coded()
    data = make_input(features, ratings, metadata={"category:code": [str(code) for code in codes]})

    assert partial(data, "category:code")[1]["partial_control"] == ["category:code (number)"]


def test_a_control_that_no_image_has_is_refused_by_its_name():
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.3\.control: .*'colour'"):
        PartialOptions(control=["category:colour"]).check_columns("scorers.3", ["liking"], ["code"], ["l0.layer1.cls"])
    with pytest.raises(ValueError, match="held constant"):
        PartialOptions(control=["category:liking"], ratings=["liking"])
    assert PartialOptions(controls=["category:code"]).control == ("category:code",)


def test_the_interval_of_the_held_out_correlation_is_that_of_its_images():
    generator = np.random.default_rng(1)
    features = np.clip(generator.normal(size=(400, 3)), 0, None)
    data = make_input(features, {"liking": features[:, 0] + generator.normal(size=400)})
    columns, _ = score(data, split=0.5)
    r, n = columns["r_held_out", "liking"], columns["n_held_out", "liking"]

    for side, name in ((-1, "ci_low_held_out"), (1, "ci_high_held_out")):
        expected = np.tanh(np.arctanh(r) + side * 1.959964 / np.sqrt(n - 3))
        np.testing.assert_allclose(columns[name, "liking"], expected, atol=1e-6)


def test_a_prediction_of_the_rating_itself_is_a_control_with_a_warning(caplog):
    generator = np.random.default_rng(3)
    features, ratings, _ = coded()
    ratings |= {"calm (1-5)": generator.normal(size=300), "cls": generator.normal(size=300)}
    columns = {"predicted.calm (1-5)": generator.normal(size=300), "l0.layer7.cls": generator.random(300)}
    data = replace(make_input(features, ratings), of_images=columns)
    for control, ratings_, warned in (
        ("predicted.calm (1-5)", None, 1),
        ("predicted.calm (1-5)", ("liking",), 0),
        ("l0.layer7.cls", None, 0),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            score(data, scorer=Partial, options=PartialOptions, control=(control,), ratings=ratings_)
        told = [one for one in caplog.messages if "was computed from the rating" in one]
        assert len(told) == warned
        assert all("'calm (1-5)' itself" in one for one in told)
