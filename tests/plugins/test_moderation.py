"""Whether relations differ between groups of images or raters: against statsmodels and the published formula of CR2."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from pydantic import ValidationError
from scipy import stats

import saeviz
from saeviz import ConfigError
from saeviz.testing import ScorerContract
from saeviz_correlation.moderation import Moderation
from saeviz_correlation.options import ModerationOptions
from tests.plugins.correlations import make_input, score
from tests.report_data import report_of

N = 150
LEVELS = ("face", "indoor", "scene")
"""Of the moderator `category`."""


def moderated_data(seed=0):
    """Sparse features, ratings with gaps, a category, a binary and a numeric column, groups of unequal size."""
    generator = np.random.default_rng(seed)
    codes = generator.choice(14, N, p=generator.dirichlet(np.full(14, 3.0)))
    features = np.maximum(generator.normal(size=(N, 5)) + generator.normal(size=(14, 5))[codes] - 0.2, 0)
    features[:, 3] += 1000  # always on, with a large mean
    features = features.astype(np.float32).astype(np.float64)
    category = generator.choice(LEVELS, N)
    sunny = generator.integers(0, 2, N)
    light = generator.gamma(2.0, size=N)
    ratings = {
        "mood": features[:, 0] * (category == "face") + generator.normal(size=N) * (1 + sunny),
        "gappy": np.where(generator.random(N) < 0.2, np.nan, features[:, 1] * light + generator.normal(size=N)),
    }
    metadata = {"category": tuple(category), "sunny": tuple(map(str, sunny)), "light": tuple(map(repr, light.tolist()))}
    return features, ratings, metadata, tuple(f"series {code}" for code in codes)


def moderate(features, ratings, metadata=None, groups=None, min_active=5, **options):
    data = make_input(features, ratings, metadata=metadata, groups=groups)
    return score(data, scorer=Moderation, options=ModerationOptions, min_active=min_active, **options)


def design_of(contrast, metadata, rated):
    """The moderator from low to high, and the main effects."""
    column, _, level = contrast.partition("=")
    cells = np.array(metadata[column])[rated]
    if column == "category":
        return (cells == level) * 1.0, np.column_stack([cells == other for other in LEVELS[1:]])
    values = cells.astype(float)
    if column == "light":
        values = (values - values.mean()) / (2 * values.std()) + 0.5
    return values, values[:, None]


def sandwich(design, y, groups):
    """Standard error and Satterthwaite's degrees of freedom of the last coefficient by CR2, from dense matrices."""
    bread = np.linalg.inv(design.T @ design)
    annihilator = np.eye(len(y)) - design @ bread @ design.T
    residuals = annihilator @ y
    variance, columns = 0.0, []
    for group in sorted(set(groups)):
        own = np.array([name == group for name in groups])
        sizes, vectors = np.linalg.eigh(annihilator[np.ix_(own, own)])
        adjustment = vectors @ np.diag(sizes**-0.5) @ vectors.T
        weights = (bread @ design[own].T @ adjustment)[-1]
        variance += (weights @ residuals[own]) ** 2
        columns.append(annihilator[:, own] @ weights)
    products = np.array(columns) @ np.array(columns).T
    return np.sqrt(variance), np.trace(products) ** 2 / np.square(products).sum()


CONTRASTS = ("category=face", "category=scene", "sunny", "light")


@pytest.mark.parametrize("errors", ["independent", "hc2", "clusters"])
@pytest.mark.parametrize("control", [(), ("tilt",)])
def test_differences_are_the_interactions_of_statsmodels(errors, control):
    features, ratings, metadata, groups = moderated_data()
    tilt = np.random.default_rng(5).normal(size=N) + features[:, 0]
    metadata["tilt"] = tuple(map(repr, tilt.tolist()))
    groups = groups if errors == "clusters" else None
    columns, facts = moderate(
        features, ratings, metadata, groups, moderators=("category", "sunny", "light"), control=control, errors=errors
    )
    assert facts["moderation_errors"] == errors
    for contrast in CONTRASTS:
        for rating, values in ratings.items():
            rated = np.isfinite(values)
            y = stats.zscore(values[rated])
            moderator, main = design_of(contrast, metadata, rated)
            for feature in range(5):
                x = stats.zscore(features[rated, feature])
                terms = [np.ones(len(y)), main, *[tilt[rated] for _ in control], x, x * moderator]
                design = np.column_stack(terms)
                fit = sm.OLS(y, design).fit(cov_type="nonrobust" if errors == "independent" else "HC2", use_t=True)
                error, df = fit.bse[-1], fit.df_resid
                if errors != "independent":
                    own = range(len(y)) if groups is None else np.array(groups)[rated]
                    robust, df = sandwich(design, y, list(own))
                    assert groups is not None or robust == pytest.approx(error, rel=1e-8)
                    error = robust
                expected = {
                    "low": fit.params[-2],
                    "high": fit.params[-2] + fit.params[-1],
                    "difference": fit.params[-1],
                    "df": df,
                    "ci_low": fit.params[-1] - stats.t.ppf(0.975, df) * error,
                    "p": 2 * stats.t.sf(abs(fit.params[-1] / error), df),
                    "n": len(y),
                }
                got = {name: columns[f"moderation_{name}.{contrast}", rating][feature] for name in expected}
                assert got == pytest.approx(expected, rel=1e-6, abs=1e-9), (contrast, rating, feature)


@pytest.mark.parametrize("errors", ["independent", "hc2", "clusters"])
def test_slopes_of_two_groups_of_raters_are_compared_by_the_difference_of_their_ratings(errors):
    features, ratings, _, groups = moderated_data()
    ratings["women"] = ratings["gappy"] * 0.5 + np.random.default_rng(2).normal(size=N)
    groups = groups if errors == "clusters" else None
    columns, _ = moderate(features, ratings, None, groups, rater_groups=(("women", "mood"),), errors=errors)
    both = np.isfinite(ratings["women"])
    low, high = ratings["women"][both], ratings["mood"][both]
    unit = np.sqrt((low.var() + high.var()) / 2)
    for feature in range(5):
        design = sm.add_constant(stats.zscore(features[both, feature]))
        fit = sm.OLS((high - low) / unit, design).fit()
        of_errors = [(fit.bse[-1], fit.df_resid)]
        if errors != "independent":
            own = range(len(low)) if groups is None else np.array(groups)[both]
            of_errors.append(sandwich(design, (high - low) / unit, list(own)))
        expected = {
            "low": sm.OLS(low / unit, design).fit().params[-1],
            "high": sm.OLS(high / unit, design).fit().params[-1],
            "difference": fit.params[-1],
            "p": max(2 * stats.t.sf(abs(fit.params[-1] / error), df) for error, df in of_errors),
            "ci_high": fit.params[-1] + max(stats.t.ppf(0.975, df) * error for error, df in of_errors),
            "df": of_errors[-1][1],
        }
        got = {name: columns[f"moderation_{name}.against women", "mood"][feature] for name in expected}
        assert got == pytest.approx(expected, rel=1e-6)


def test_rare_features_do_not_differ_because_differences_between_ratings_are_skewed():
    # on the few images of a rare feature skewed values are often alike, and their own spread would make any p small
    generator = np.random.default_rng(7)
    features = np.zeros((300, 600))
    for feature in features.T:
        feature[generator.choice(300, 12, replace=False)] = 1.0
    ratings = {"women": generator.normal(size=300) / 10, "men": generator.exponential(size=300)}
    columns, _ = moderate(features, ratings, rater_groups=(("women", "men"),), errors="hc2")
    p = columns["moderation_p.against women", "men"]
    assert np.mean(p <= 0.05) < 0.05
    assert np.mean(p <= 0.001) < 0.004


def test_noisier_ratings_of_one_group_make_no_difference_of_relations():
    # their correlation is smaller, and a test of correlations would find that in every related feature
    generator = np.random.default_rng(3)
    features = np.maximum(generator.normal(size=(2000, 40)) - 0.5, 0)
    signal = features.sum(axis=1)
    ratings = {"few": signal + generator.normal(size=2000) * 12, "many": signal + generator.normal(size=2000)}
    columns, _ = moderate(features, ratings, rater_groups=(("few", "many"),))
    r = [np.corrcoef(features.T, ratings[name])[-1, :-1] for name in ratings]
    assert (r[1] > r[0] + 0.05).all()
    assert not columns["moderation_significant.against few", "many"].any()


def test_what_cannot_be_compared_has_no_test():
    features, ratings, metadata, _ = moderated_data()
    face = np.array(metadata["category"]) == "face"
    features[:, 0] = 0
    features[~face, 1] = 0  # fires on one side only
    features[:, 2] = 1.5
    ratings |= {"of level": face * 1.0, "constant": np.full(N, 2.0), "nobody": np.full(N, np.nan)}
    columns, facts = moderate(features, ratings, metadata, moderators=("category",))
    for name in ("low", "high", "difference", "ci_low", "ci_high", "df", "p", "q", "significant"):
        assert np.isnan(columns[f"moderation_{name}.category=face", "mood"][:3]).all()
        assert np.isnan(columns[f"moderation_{name}.category=face", "of level"]).all()
        assert np.isnan(columns[f"moderation_{name}.category=face", "constant"]).all()
    assert ("moderation_p.category=face", "nobody") not in columns
    tested = sum(
        int(np.isfinite(values).sum()) for (name, _), values in columns.items() if name.startswith("moderation_p")
    )
    assert facts["moderation_family_size"] == tested


def test_a_relation_of_one_level_is_found_and_counted():
    generator = np.random.default_rng(1)
    features = np.maximum(generator.normal(size=(400, 5)), 0)
    metadata = {"category": tuple(generator.choice(LEVELS, 400)), "sunny": tuple(generator.choice(["0", "1"], 400))}
    mood = features[:, 0] * (np.array(metadata["category"]) == "face") + 0.5 * generator.normal(size=400)
    columns, facts = moderate(features, {"mood": mood}, metadata, moderators=("category", "sunny"))
    assert columns["moderation_significant.category=face", "mood"].tolist() == [1, 0, 0, 0, 0]
    assert facts["moderation_significant_mood.category=face"] == 1
    assert facts["moderation_significant_mood.sunny"] == 0
    p = np.concatenate([values for (name, _), values in columns.items() if name.startswith("moderation_p.")])
    q = np.concatenate([values for (name, _), values in columns.items() if name.startswith("moderation_q.")])
    np.testing.assert_allclose(q, stats.false_discovery_control(p))


def test_a_rating_is_no_moderator_of_itself_and_two_values_of_a_column_are_one_contrast():
    features, ratings, metadata, _ = moderated_data()
    metadata["place"] = tuple(np.where(np.array(metadata["sunny"]) == "1", "out", "in"))
    columns, _ = moderate(features, ratings, metadata, moderators=("mood", "place", "sunny", "category:sunny"))
    assert {target for name, target in columns if name == "moderation_p.mood"} == {"gappy"}
    assert {name for name, _ in columns if ".place" in name and "_p." in name} == {"moderation_p.place=out"}
    for other in ("sunny", "sunny=1"):
        np.testing.assert_allclose(
            columns[f"moderation_p.{other}", "mood"], columns["moderation_p.place=out", "mood"], rtol=1e-9
        )


def test_groups_that_have_a_level_to_themselves_say_nothing_of_others():
    # images of a level in one group: nothing says how its relation would be in another group of that level
    features, ratings, metadata, _ = moderated_data()
    columns, _ = moderate(features, ratings, metadata, metadata["category"], moderators=("category", "sunny"))
    assert np.isnan(columns["moderation_p.category=face", "mood"]).all()
    assert np.isfinite(columns["moderation_p.sunny", "mood"]).all()


def test_mistakes_are_told_by_name(caplog):
    features, ratings, metadata, groups = moderated_data()
    with pytest.raises(ValidationError, match="name what a relation may change with"):
        ModerationOptions()
    with pytest.raises(ValidationError, match="'mood' is compared with itself"):
        ModerationOptions(rater_groups=(("mood", "mood"),))
    with pytest.raises(ConfigError, match=r"scorers\.moderation\.errors: .*group_column"):
        moderate(features, ratings, metadata, moderators=("category",), errors="clusters")
    for options in ({"moderators": ("categry",)}, {"rater_groups": (("mood", "moood"),)}):
        with pytest.raises(ConfigError, match="did you mean"):
            moderate(features, ratings, metadata, **options)
    metadata["many"] = tuple(f"level {number % 21}" for number in range(N))
    with pytest.raises(ConfigError, match="21 columns of 'many' and control"):
        moderate(features, ratings, metadata, moderators=("many",))
    with pytest.raises(ConfigError, match="at most 100 ratings, and these are 101"):
        moderate(features, {f"voxel {n}": ratings["mood"] for n in range(101)}, metadata, moderators=("sunny",))
    metadata["none"] = ("",) * N
    few = tuple(f"part {group[-1]}" for group in groups)[:N]
    with caplog.at_level(logging.WARNING):
        moderate(
            features,
            ratings,
            metadata,
            tuple(name if name < "part 3" else "part 3" for name in few),
            moderators=("sunny", "none"),
        )
    assert "belong to only 4 groups" in caplog.text
    assert "no image has a rating and all values that none" in caplog.text


def test_a_run_has_differences_beside_its_relations_and_names_the_significant_ones(fake_run, saeviz_command):
    moderation = '{use = "moderation", moderators = ["colour"], min_active = 2, alpha = 0.999, errors = "independent"}'
    scorers = f'scorers=[{{use = "pearson-bh", min_active = 3}}, {moderation}]'
    run = saeviz.run(fake_run, settings=[scorers, 'reporters=[{use = "html"}]'])
    names = [name for name in run.correlations if name.startswith("moderation_difference.")]
    assert names
    assert run.correlations[names].notna().to_numpy().any()
    assert saeviz.relation_prefixes(run.correlations) == [""]
    report = report_of(run)
    assert not [name for name in report.columns(run.ratings[0]) if name.startswith("moderation_")]
    cards = report.content("labels").values()
    words = [word for card in cards for _, word in card.get("differences", ())]
    assert all("slope" in word for word in words)
    found = run.correlations.filter(like="moderation_significant.").eq(1).any(axis=1)
    feature = saeviz.feature_of(run.correlations[found].iloc[0].to_dict())
    shown = saeviz_command("show", str(feature), "--run", run.dir).out
    assert "differs: slope" in shown
    assert "moderation_" not in shown


def test_a_difference_in_words():
    row = {
        "r": 0.3,
        "moderation_low.category=face": 0.101,
        "moderation_high.category=face": 0.52,
        "moderation_difference.category=face": 0.419,
        "moderation_ci_low.category=face": 0.2,
        "moderation_ci_high.category=face": 0.638,
        "moderation_q.category=face": 0.003,
        "moderation_significant.category=face": 1.0,
        "moderation_difference.category=scene": None,
        "moderation_n.category=scene": 20,
    }
    (found,) = saeviz.relation_differences(row)
    assert found.words == "slope 0.10, 0.52 with category=face (difference 0.42, 0.20 to 0.64; q 0.003)"
    assert saeviz.difference_columns(row) == set(row) - {"r"}


class TestContractOfModeration(ScorerContract):
    component = Moderation

    @pytest.fixture
    def make(self):
        return lambda context: Moderation(ModerationOptions(moderators=["liking"], min_active=3), context)


def test_ratings_that_do_not_vary_are_named(caplog):
    features, ratings, metadata, _ = moderated_data()
    sunny = np.array([cell == "1" for cell in metadata["sunny"]])
    given = {**ratings, "flat": np.full(N, 3.0), "only sunny": np.where(sunny, ratings["mood"], 0.0)}
    with caplog.at_level(logging.WARNING):
        moderate(features, given, metadata, moderators=["sunny"])
    assert "rating 'flat' is not tested: all images have the same value" in caplog.text
    assert "rating 'only sunny' never varies on one side of sunny (number)" in caplog.text
    assert "'mood'" not in caplog.text
    assert "'gappy'" not in caplog.text


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({"moderators": ("sunny",), "control": ("predicted.mood",)}, True),
        ({"moderators": ("predicted.mood",)}, True),
        ({"moderators": ("sunny",), "control": ("predicted.mood",), "ratings": ("gappy",)}, False),
        ({"rater_groups": (("mood", "gappy"),), "control": ("predicted.mood",)}, True),
        ({"moderators": ("sunny",), "control": ("l0.layer7.cls",)}, False),
    ],
)
def test_a_prediction_of_the_rating_itself_is_warned_of(options, warned, caplog):
    features, ratings, metadata, _ = moderated_data()
    columns = {"predicted.mood": np.arange(N) / N, "l0.layer7.cls": np.arange(N) % 7.0}
    data = replace(make_input(features, ratings, metadata=metadata), of_images=columns)
    with caplog.at_level(logging.WARNING):
        score(data, scorer=Moderation, options=ModerationOptions, **options)
    told = [one for one in caplog.messages if "'predicted.mood' was computed from the rating 'mood' itself" in one]
    assert len(told) == warned
