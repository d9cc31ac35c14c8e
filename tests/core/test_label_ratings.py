"""The stage `judge-ratings`: whether labels predict the ratings of images that neither labeler nor correlation saw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from statsmodels.stats.multitest import multipletests

import saeviz
from saeviz.formats.label_scores import LABEL_SCORES, LabelScores, ratings_table
from saeviz.pipeline.run import Plan
from tests.conftest import FAKES
from tests.judged_runs import write_run

PLUGIN = """
import numpy as np
from pydantic import Field

import saeviz
from saeviz.testing.fakes import FakeLabeler, FakeLabelerOptions

NAMED, JUDGED = [], []


class Options(FakeLabelerOptions):
    budget: int = Field(10**6, description="judgements", **saeviz.NEUTRAL)
    blind_to: str = Field("", description="an image that cannot be judged", **saeviz.NEUTRAL)


class Words(FakeLabeler):
    concurrency = 2

    def __init__(self, options, context):
        super().__init__(options, context)
        self.calls = 0

    def label(self, request):
        NAMED.append(request)
        return super().label(request)

    def judge(self, label, images):
        if self.calls >= self.options.budget:
            raise saeviz.PausedError("the budget is used up")
        self.calls += 1
        JUDGED.append((label, [image.item_id for image in images]))
        blind = np.array([image.item_id == self.options.blind_to for image in images])
        shade = np.array([int(image.item_id.split("/")[1]) % 10 / 100 for image in images])
        return np.where(blind, np.nan, 0.9 * super().judge(label, images) + shade)

    def estimate_judging(self, n_images):
        return saeviz.Usage(len(n_images), sum(n_images), 10 * sum(n_images), len(n_images))


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="words", summary="for a test", options=Options, factory=Words)
"""
ON = ["run.rating_images=30", "scorers.1.split=0.5"]


@pytest.fixture
def run_file(tmp_path):
    """A run of 90 pictures whose labels the labeler itself judges, with `ON` also on held-out images."""
    return write_run(tmp_path, PLUGIN)


@pytest.fixture
def asked(run_file, monkeypatch):
    """What the labeler of the last run was asked: requests, and pairs of a label and ids of images."""
    modules = []
    build = saeviz.discovery.manager.Manager.build

    def spy(manager, role, name, options, context):
        component = build(manager, role, name, options, context)
        if role == "labeler":
            modules[:] = [vars(__import__("sys").modules[type(component).__module__])]
        return component

    monkeypatch.setattr(saeviz.discovery.manager.Manager, "build", spy)
    return lambda: (list(modules[0]["NAMED"]), list(modules[0]["JUDGED"]))


@pytest.fixture(scope="module")
def finished(clean_environment, tmp_path_factory):
    """The run of `run_file` with `ON`, once for all tests that only read it."""
    return saeviz.run(write_run(tmp_path_factory.mktemp("finished"), PLUGIN), settings=ON)


def scores_of(run):
    return LABEL_SCORES.read(run.dir / "label_scores.jsonl")


def activations_of(run, feature):
    batch = run.features(f"layer{feature.layer}.{feature.tokens}")
    return dict(zip(batch.item_ids, batch.matrix[:, [feature.index]].toarray()[:, 0], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 30])
def test_images_are_those_that_nothing_else_has_seen(run_file, asked, groups):
    run = saeviz.run(run_file, settings=[*ON, "run.rating_images=15", f"images.groups={groups}"])
    found, held_out = ({*run.split.index[run.split == part]} for part in ("found", "held out"))
    samples = {tuple(one.scores) for one in scores_of(run).values()}
    assert len(samples) == 1, "the same images for all labels"
    [sample] = map(set, samples)
    assert len(sample) == 15
    assert sample <= held_out
    requests, _ = asked()
    assert len(requests) == 12
    group_of = {item.item_id: item.group for item in run.items}
    for request in requests:
        ids = {item.item_id for item in (*(top.item for top in request.top), *request.contrast, *request.dataset)}
        assert ids <= found
        assert not groups or not {group_of[one] for one in ids} & {group_of[one] for one in sample}
        value = activations_of(run, request.feature)
        strongest = sorted((value[item_id] for item_id in found), reverse=True)[: len(request.top)]
        assert [top.activation for top in request.top] == pytest.approx(strongest)
        assert len(request.top) == min(6, sum(value[item_id] > 0 for item_id in found))


def test_correlations_are_those_of_scipy_on_these_images(finished):
    run = finished
    scores, table = scores_of(run), run.label_ratings
    assert len(table) == 2 * len(scores) > 10
    for row in table.to_dict("records"):
        feature = saeviz.feature_of(row)
        given = pd.Series(scores[feature].scores, dtype=float)
        rating = run.ratings_table.loc[given.index, row["rating"]]
        fires = pd.Series(activations_of(run, feature))[given.index]
        assert (row["n"], row["label"]) == (30, run.labels[feature].label)
        for part, values in (("", given), ("_feature", fires)):
            expected = pearsonr(values, rating)
            assert row[f"r{part}"] == pytest.approx(expected.statistic, abs=1e-6)
            assert row[f"p{part}"] == pytest.approx(expected.pvalue, rel=1e-4)
            interval = expected.confidence_interval()
            assert [row[f"ci_low{part}"], row[f"ci_high{part}"]] == pytest.approx(list(interval), abs=1e-6)
        assert row["r_of_both"] == pytest.approx(pearsonr(given, fires).statistic, abs=1e-6)
    assert table["q"].to_numpy() == pytest.approx(multipletests(table["p"], method="fdr_bh")[1])
    warm = table[(table["label"] == "red things") & (table["rating"] == "warmth")]
    assert (warm["q"] < 0.01).all()


@pytest.mark.slow
def test_the_main_correlation_of_the_run_is_taken(run_file):
    run = saeviz.run(run_file, settings=[*ON, "scorers.1.use=spearman", "scorers.1.split=0.5", "scorers.1.name=rho"])
    scores = scores_of(run)
    for row in run.label_ratings.to_dict("records"):
        given = pd.Series(scores[saeviz.feature_of(row)].scores, dtype=float)
        rating = run.ratings_table.loc[given.index, row["rating"]]
        assert row["r"] == pytest.approx(spearmanr(given.astype(np.float32), rating).statistic, abs=1e-6)


MANY = """
from dataclasses import replace

import numpy as np

import saeviz
from saeviz.testing.fake_images import FakeImages, FakeImagesOptions


class Many(FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        for item in super().iter_images(filter_labeled, limit):
            number = int(item.item_id.split("/")[1])
            further = {f"noise{k}": float(np.random.default_rng([k, number]).normal()) for k in range(110)}
            yield replace(item, ratings={**item.ratings, **further})


@saeviz.hookimpl
def saeviz_image_providers():
    yield saeviz.ImageProviderSpec(name="many", summary="for a test", options=FakeImagesOptions, factory=Many)
"""


@pytest.mark.slow
def test_a_label_counts_as_active_where_it_applies(run_file):
    one = ["scorers.1.use=point-biserial", "scorers.1.split=0.5", "scorers.1.name=fires"]
    run = saeviz.run(run_file, settings=[*ON, *one])
    scores = scores_of(run)
    rows = [row for row in run.label_ratings.to_dict("records") if np.isfinite(row["r"])]
    assert len(rows) > 10
    for row in rows:
        given = pd.Series(scores[saeviz.feature_of(row)].scores, dtype=float)
        rating = run.ratings_table.loc[given.index, row["rating"]]
        assert row["r"] == pytest.approx(pearsonr(given >= 0.5, rating).statistic, abs=1e-6)


@pytest.mark.slow
def test_of_many_ratings_all_are_there(run_file):
    (run_file.parent / "many.py").write_text(MANY)
    text = run_file.read_text().replace('use = "fake-images"', 'use = "many"')
    run_file.write_text(text.replace('"./words.py"', '"./words.py", "./many.py"'))
    run = saeviz.run(run_file, settings=ON)
    scores = scores_of(run)
    assert len(run.label_ratings) == 112 * len(scores)
    row = run.label_ratings.query("rating == 'noise109'").iloc[0]
    given = pd.Series(scores[saeviz.feature_of(row)].scores, dtype=float)
    assert row["r"] == pytest.approx(pearsonr(given, run.ratings_table.loc[given.index, "noise109"])[0], abs=1e-6)


@pytest.mark.slow
def test_columns_of_images_are_controls_and_targets_as_for_features(run_file):
    control = ["scorers.1.use=partial", "scorers.1.split=0.5", 'scorers.1.control=["l0.layer1.cls"]']
    run = saeviz.run(run_file, settings=[*ON, *control])
    sample = pd.Series(next(iter(scores_of(run).values())).scores, dtype=float)
    row = run.label_ratings.iloc[0]
    table = pd.DataFrame({"x": sample, "y": run.ratings_table.loc[sample.index, row["rating"]]})
    number = run.images_table.loc[sample.index, "l0.layer1.cls"]
    table = table.apply(lambda column: column - np.polyval(np.polyfit(number, column, 1), number))
    assert row["r"] == pytest.approx(pearsonr(table["x"], table["y"])[0], abs=1e-6)


@pytest.mark.slow
def test_a_column_of_images_is_a_target_like_a_rating(run_file):
    name = "l0.layer1.cls"
    run = saeviz.run(run_file, settings=[*ON, f'scorers.1.ratings=["warmth", "{name}"]'])
    rows = run.label_ratings[run.label_ratings["rating"] == name].to_dict("records")
    assert rows
    for row in rows:
        given = pd.Series(scores_of(run)[saeviz.feature_of(row)].scores, dtype=float)
        expected = pearsonr(given, run.images_table.loc[given.index, name]).statistic
        assert row["r"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_groups_widen_p_and_intervals_as_for_features(run_file):
    settings = [*ON, "images.groups=24"]
    grouped = saeviz.run(run_file, settings=settings).label_ratings
    alone = saeviz.run(run_file, settings=[*settings, "scorers.1.errors=independent"]).label_ratings
    assert grouped["r"].to_numpy() == pytest.approx(alone["r"].to_numpy())
    assert not np.allclose(grouped["p"], alone["p"])
    assert not np.allclose(grouped["ci_low"], alone["ci_low"])


@pytest.mark.slow
def test_images_without_a_score_are_left_out_for_both(run_file):
    whole = saeviz.run(run_file, settings=ON)
    table, blind = whole.label_ratings, next(iter(next(iter(scores_of(whole).values())).scores))
    run = saeviz.run(run_file, settings=[*ON, f"labeler.blind_to={blind}"], plan=Plan(redo=("judge-ratings",)))
    assert all(one.scores[blind] is None for one in scores_of(run).values())
    assert set(run.label_ratings["n"]) == {29}
    assert not np.allclose(run.label_ratings["r_feature"], table["r_feature"])


@pytest.mark.slow
def test_nothing_is_asked_twice(run_file, asked):
    small = saeviz.run(run_file, settings=[*ON, "run.rating_images=12"])
    n_labels = len(scores_of(small))
    before = len(asked()[1])
    larger = saeviz.run(run_file, settings=ON)
    table = larger.label_ratings
    questions = asked()[1]
    assert len(questions) == n_labels, "the module was loaded again, and the other judgements were kept"
    assert {len(ids) for _, ids in questions} == {18}, "a larger sample has the images of a smaller one"
    assert before > n_labels
    first, second = scores_of(small), scores_of(larger)
    assert all(first[feature].scores.items() <= second[feature].scores.items() for feature in first)
    paused = saeviz.run(run_file, settings=[*ON, "labeler.budget=4"], plan=Plan(redo=("judge-ratings",)))
    assert len(scores_of(paused)) == 4
    [failure] = paused.failures
    assert failure.stage == "judge-ratings"
    assert f"{n_labels - 4} features" == failure.subject
    assert "not scored yet" in failure.error
    whole = saeviz.run(run_file, settings=ON)
    assert len(asked()[1]) == n_labels - 4
    pd.testing.assert_frame_equal(whole.label_ratings, table)


@pytest.mark.slow
def test_of_a_label_that_was_scored_in_part_only_the_rest_is_asked(run_file, asked):
    on = ["run.rating_images=60", "scorers.1.split=0.25"]
    saeviz.run(run_file, settings=on, plan=Plan(last="judge"))
    paused = saeviz.run(run_file, settings=[*on, "labeler.budget=3"])
    scores = scores_of(paused)
    n_scored = sorted(len(one.scores) for one in scores.values())
    assert sum(n_scored) in (48 + 12 + 48, 48 + 48 + 12, 48 * 3)
    n_complete = n_scored.count(60)
    assert len(paused.label_ratings) == 2 * n_complete
    n_labels = sum(bool(label.label) for label in paused.labels.values())
    assert [failure.subject for failure in paused.failures] == [f"{n_labels - n_complete} features"]
    table = saeviz.run(run_file, settings=on).label_ratings
    questions = asked()[1]
    assert len(questions) == 2 * n_labels - 3
    assert {len(ids) for _, ids in questions} <= {12, 48}
    assert len(table) == 2 * n_labels
    assert set(table["n"]) == {60}


@pytest.mark.slow
def test_a_damaged_line_is_scored_again(run_file, asked):
    run = saeviz.run(run_file, settings=ON)
    path, table = run.dir / "label_scores.jsonl", run.label_ratings
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace("0.9", "0.8"), *lines[1:]]) + "\n")
    again = saeviz.run(run_file, settings=ON)
    assert len(asked()[1]) == 1
    pd.testing.assert_frame_equal(again.label_ratings, table)


@pytest.mark.slow
def test_without_the_option_nothing_is_different(run_file):
    run = saeviz.run(run_file, settings=ON)
    labels = (run.dir / "labels.jsonl").read_text()
    off = saeviz.run(run_file, settings=ON[1:])
    assert off.label_ratings.empty
    assert off.label_ratings_of(off.selected[0].feature) == []
    assert list(off.label_ratings) == list(run.label_ratings)
    assert (off.dir / "labels.jsonl").read_text() != labels, "all images may be shown"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["run.rating_images=30"], r"rating_images: .* uses all images; give its scorer split = 0\.5"),
        ([*ON, "judge.use=none"], r"rating_images: this run has no judge"),
        ([*ON, "run.rating_images=9"], r"rating_images: 9 images are too few .* at least 10"),
        ([*ON, "scorers.1.split=0.97"], r"rating_images: \d of the held-out images have a rating, and at least 10"),
        ([*ON, "images.unrated=80"], r"rating_images: \d of the held-out images have a rating"),
    ],
)
def test_mistakes(run_file, asked, settings, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        saeviz.run(run_file, settings=settings)


@pytest.mark.slow
def test_what_it_takes_is_said_before(saeviz_command, run_file):
    on = [word for setting in ON for word in ("--set", setting)]
    fresh = saeviz_command("run", run_file, "--dry-run", *on)
    assert "judge-ratings would run words; what it costs is known once" in fresh.out
    run = saeviz.run(run_file, settings=ON, plan=Plan(last="label"))
    n = sum(bool(label.label) for label in run.labels.values())
    planned = saeviz_command("run", run_file, "--dry-run", *on).out
    assert f"labels of {n} of 12 features to score on 30 held-out images with words: about {n} calls" in planned
    assert f"{30 * n} images" in planned
    saeviz.run(run_file, settings=ON)
    redo = saeviz_command("run", run_file, "--dry-run", *on, "--redo", "judge-ratings").out
    assert f"labels of {n} of 12 features to score" in redo
    assert "judge-ratings up to date" in saeviz_command("run", run_file, "--dry-run", *on).out


def test_show_tells_how_the_label_goes_with_ratings(saeviz_command, finished):
    run = finished
    row = run.label_ratings.iloc[0]
    feature = f"layer{row.layer}.{row.tokens}/{row.feature}"
    shown = saeviz_command("show", feature, "--run", run.dir).out
    assert (
        f"label and {row.rating} of 30 held-out images: r {row.r:.2f} ({row.ci_low:.2f} to {row.ci_high:.2f})" in shown
    )
    assert f"feature r {row.r_feature:.2f}" in shown
    found = saeviz_command("show", feature, "--run", run.dir, "--json").json()["label_ratings"]
    assert [one["rating"] for one in found] == ["warmth", "noise"]
    assert found[0]["q"] == pytest.approx(row.q)


def test_a_paper_tells_what_was_done(saeviz_command, finished, tmp_path):
    saeviz_command("paper", finished.dir, "--plugins", FAKES, "--out", tmp_path / "paper")
    text = (tmp_path / "paper" / "methods.txt").read_text()
    assert "on the same random sample of 30 images, which had been used neither for finding relations" in text
    table = pd.read_csv(tmp_path / "paper" / "relations.csv", keep_default_na=True)
    expected = finished.label_ratings.query("rating == 'warmth'")
    found = table[table["rating"] == "warmth"].dropna(subset="n_label")
    assert sorted(found["r_label"]) == pytest.approx(sorted(expected["r"]))
    assert sorted(found["r_on_images_of_label"]) == pytest.approx(sorted(expected["r_feature"]))


def test_scores_survive_the_file(tmp_path):
    feature = saeviz.Feature("stage-2", "frame-max", 7, "video")
    given = LabelScores(feature, "a “name”", "key", {"a/1": 0.25, "b": None})
    (tmp_path / "scores.jsonl").write_text(given.as_text() + "\n")
    assert LABEL_SCORES.read(tmp_path / "scores.jsonl") == {feature: given}
    assert ratings_table([{"layer": "stage-2", "n": 3, "feature": 7}])["layer"].tolist() == ["stage-2"]
