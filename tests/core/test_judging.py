"""The stage `judge`: which images a label is judged on, what becomes of the answers, and how a run goes on."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu
from statsmodels.stats.proportion import proportion_confint

import saeviz
from saeviz.formats.accuracy import area_under_curve, mean_of, proportion
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.judgements import JUDGEMENTS, JudgedImage, Judgement, table_of, verdict
from saeviz.pipeline.run import Plan
from tests.judged_runs import write_run

PLUGIN = """
import numpy as np
from pydantic import Field

import saeviz
from saeviz.testing.fakes import FakeLabeler, FakeLabelerOptions

NAMED, JUDGED = [], []


class Options(FakeLabelerOptions):
    ending: str = Field("", description="added to the names of even features")
    seen: int | None = Field(None, description="of the top images")
    budget: int = Field(10**6, description="judgements", **saeviz.NEUTRAL)
    fault: str = Field("", description="what goes wrong", **saeviz.NEUTRAL)

    def check_ready(self, context):
        if self.fault == "no key":
            raise saeviz.ConfigError(f"{context.option('api_key')}: there is no key")


class Words(FakeLabeler):
    concurrency = 3

    def __init__(self, options, context):
        super().__init__(options, context)
        self.context, self.calls = context, 0

    def label(self, request):
        NAMED.append(request)
        label = super().label(request)
        details = {} if self.options.seen is None else {"top_images": self.options.seen}
        ending = self.options.ending if request.feature.index % 2 == 0 else ""
        return saeviz.FeatureLabel(label.label + ending, label.description, label.elements, "why", 0.5, details)

    def judge(self, label, images):
        if self.calls >= self.options.budget:
            raise saeviz.PausedError(f"the budget {self.context.option('max_calls')} is used up")
        self.calls += 1
        if self.options.fault == "answers" and len(JUDGED) % 3 == 0:
            JUDGED.append((label, images))
            raise saeviz.LabelError("no answer")
        JUDGED.append((label, images))
        scores = super().judge(label, images)
        if self.options.fault == "range":
            return scores * 2
        if self.options.fault == "shape":
            return scores[:-1]
        return np.array([np.nan, *scores[1:]]) if self.options.fault == "unreadable" else scores

    def estimate(self, requests):
        return saeviz.Usage(len(requests))

    def estimate_judging(self, n_images):
        return saeviz.Usage(len(n_images), sum(n_images), 10 * sum(n_images), len(n_images))

    @property
    def usage(self):
        return saeviz.Usage(self.calls)


class Mute:
    def __init__(self, options, context):
        pass

    def label(self, request):
        return saeviz.FeatureLabel("a name")


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="words", summary="for a test", options=Options, factory=Words)
    yield saeviz.LabelerSpec(name="free", summary="for a test", options=Options, factory=Words, judges_itself=True)
    yield saeviz.LabelerSpec(name="mute", summary="for a test", factory=Mute)
"""


@pytest.fixture
def run_file(tmp_path):
    """A run of 90 pictures whose labels the labeler itself judges."""
    return write_run(tmp_path, PLUGIN)


@pytest.fixture
def plugin(run_file, monkeypatch):
    """What the labeler of `run_file` was asked: lists that each run in this process appends to."""
    asked = {"named": [], "judged": []}
    build = saeviz.discovery.manager.Manager.build

    def spy(manager, role, name, options, context):
        component = build(manager, role, name, options, context)
        if role == "labeler":
            module = vars(__import__("sys").modules[type(component).__module__])
            asked["named"], asked["judged"] = module.get("NAMED", []), module.get("JUDGED", [])
        return component

    monkeypatch.setattr(saeviz.discovery.manager.Manager, "build", spy)
    return asked


def lines_of(run):
    return list(JUDGEMENTS.read(run.dir / "judgements.jsonl").values())


def activations_of(run, feature):
    batch = run.features(f"layer{feature.layer}.{feature.tokens}")
    return dict(zip(batch.item_ids, batch.matrix[:, [feature.index]].toarray()[:, 0], strict=True))


# which images


@pytest.mark.slow
def test_images_are_held_out_and_of_the_kind_they_are_said_to_be(run_file, plugin):
    run = saeviz.run(run_file)
    requests = {request.feature: request for request in plugin["named"]}
    judged = [one for one in lines_of(run) if one.images]
    assert len(judged) > 5
    for one in judged:
        request, value = requests[one.feature], activations_of(run, one.feature)
        seen = {top.item.item_id for top in request.top} | {item.item_id for item in request.contrast}
        ids = [image.item_id for image in one.images]
        assert len(set(ids)) == len(ids) <= 24
        assert not seen & set(ids)
        for image in one.images:
            assert image.activation == pytest.approx(value[image.item_id], abs=1e-4)
            if image.kind == "active":
                assert image.activation >= 0.25 * max(value.values()) - 1e-4
            else:
                assert image.activation == 0
        kinds = [image.kind for image in one.images]
        assert kinds.count("active") <= 12
        assert kinds.count("silent") + kinds.count("hard") <= 12
        assert kinds != sorted(kinds), "the order must not tell which is which"


@pytest.mark.slow
def test_images_of_a_group_that_the_labeler_saw_are_not_held_out(run_file, plugin):
    run = saeviz.run(run_file, settings=["images.groups=60"])
    group_of = {item.item_id: item.group for item in run.items}
    requests = {request.feature: request for request in plugin["named"]}
    judged = [one for one in lines_of(run) if one.images]
    assert judged
    for one in judged:
        request = requests[one.feature]
        seen = {top.item.group for top in request.top} | {item.group for item in request.contrast}
        assert not seen & {group_of[image.item_id] for image in one.images}


@pytest.mark.slow
def test_active_images_are_from_the_whole_range(run_file):
    run = saeviz.run(run_file, settings=["run.judge_images=10"])
    spread = []
    for one in lines_of(run):
        value = activations_of(run, one.feature)
        seen = {top.item.item_id for top in run.top_images(one.feature)}
        open_ = sorted((v for i, v in value.items() if i not in seen and v >= 0.25 * max(value.values())), reverse=True)
        drawn = sorted((image.activation for image in one.images if image.kind == "active"), reverse=True)
        if len(drawn) == 5 and len(open_) > 15:
            width = (open_[0] - open_[-1]) / 4
            assert drawn[0] >= open_[0] - width - 1e-4, "strong ones come first"
            assert drawn[-1] <= open_[0] - 2 * width, "and weaker ones are among them"
            spread.append(one.feature)
    assert spread


@pytest.mark.slow
def test_hard_images_are_the_silent_ones_most_like_the_top_images(run_file, plugin):
    run = saeviz.run(run_file)
    requests = {request.feature: request for request in plugin["named"]}
    vectors = EmbeddingFiles(run.dir / "embeddings").read(run.items)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    unit = dict(zip([item.item_id for item in run.items], vectors, strict=True))
    judged = [one for one in lines_of(run) if one.images]
    assert judged
    for one in judged:
        request, value = requests[one.feature], activations_of(run, one.feature)
        centre = sum(top.activation * unit[top.item.item_id] for top in request.top)
        seen = {top.item.item_id for top in request.top} | {item.item_id for item in request.contrast}
        silent = [item_id for item_id, v in value.items() if v == 0 and item_id not in seen]
        likeness = {item_id: float(unit[item_id] @ centre) for item_id in silent}
        hard = [image.item_id for image in one.images if image.kind == "hard"]
        assert len(hard) == min(6, len(silent))
        rest = [item_id for item_id in silent if item_id not in hard]
        assert min(likeness[item_id] for item_id in hard) >= max(map(likeness.get, rest), default=-1) - 1e-5


def test_without_embeddings_there_are_no_hard_images(run_file):
    others = ["scorers=[{use='fake-scorer'}]", "selector.use=fake-selector"]
    run = saeviz.run(run_file, settings=["embeddings.use=none", *others])
    assert (run.judgements["n_hard"] == 0).all()
    assert (run.judgements["n_silent"] >= 5).any()
    assert run.judgements["hard_specificity"].isna().all()


@pytest.mark.slow
def test_the_draw_depends_on_the_seed_alone(run_file):
    def drawn(seed, directory):
        run = saeviz.run(run_file, settings=[f"run.seed={seed}", f"run.dir={run_file.parent / directory}"])
        return [[image.item_id for image in one.images] for one in lines_of(run)]

    assert drawn(0, "a") == drawn(0, "b")
    assert drawn(0, "a") != drawn(1, "c")


@pytest.mark.slow
def test_top_images_that_the_labeler_did_not_look_at_are_used(run_file):
    settings = ["run.top_images=30", "run.judge_images=80"]
    n_active = saeviz.run(run_file, settings=settings).judgements["n_active"].sum()
    few = saeviz.run(run_file, settings=[*settings, "labeler.seen=3"])
    assert few.judgements["n_active"].sum() > n_active
    for one in lines_of(few):
        first = {top.item.item_id for top in few.top_images(one.feature, 3)}
        assert not first & {image.item_id for image in one.images}


@pytest.mark.slow
def test_too_few_images_are_a_reason_and_cost_nothing(run_file, plugin):
    run = saeviz.run(run_file, settings=["run.top_images=90"])
    assert plugin["judged"] == []
    assert run.failures == []
    assert (run.judgements["verdict"] == "not judged").all()
    assert run.judgements["reason"].str.contains("5 are needed").all()
    assert run.judgements["balanced_accuracy"].isna().all()


# the judge


@pytest.mark.slow
def test_the_judge_is_told_the_words_and_nothing_else(run_file, plugin):
    saeviz.run(run_file)
    assert plugin["judged"]
    for label, images in plugin["judged"]:
        assert label == saeviz.FeatureLabel(label.label, label.description)
        assert all(isinstance(item, saeviz.ImageItem) for item in images)


def test_the_table_follows_from_the_answers(run_file):
    run = saeviz.run(run_file)
    table = run.judgements
    assert table.columns[:5].tolist() == [*saeviz.KEYS, "label"]
    assert table["label"].tolist() == [run.labels[one.feature].label for one in run.selected]
    colour_of = {item.item_id: item.metadata["colour"] for item in run.items}
    for one, row in zip(lines_of(run), table.itertuples(), strict=True):
        if not one.images:
            continue
        colour = one.label.split()[0]
        active = [image for image in one.images if image.kind == "active"]
        silent = [image for image in one.images if image.kind != "active"]
        found = np.mean([colour_of[image.item_id] == colour for image in active])
        passed_over = np.mean([colour_of[image.item_id] != colour for image in silent])
        assert (row.n_active, row.n_silent) == (len(active), len(silent))
        assert (row.sensitivity, row.specificity) == pytest.approx((found, passed_over))
        assert row.balanced_accuracy == pytest.approx((found + passed_over) / 2)
        assert row.ci_low <= row.balanced_accuracy <= row.ci_high
        assert row.verdict == verdict(row.ci_low, row.ci_high)
    counts = run.manifest["stages"]["judge"]["counts"]
    assert counts["judged"] == len(table)
    assert {name: counts[name] for name in set(table["verdict"])} == dict(table["verdict"].value_counts())


@pytest.mark.slow
def test_an_image_that_cannot_be_judged_is_left_out(run_file):
    run = saeviz.run(run_file, settings=["labeler.fault=unreadable"])
    assert any(one.images for one in lines_of(run))
    for one, row in zip(lines_of(run), run.judgements.itertuples(), strict=True):
        assert row.n_active + row.n_silent == max(len(one.images) - 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("range", r"judged layer\d\.cls/\d+ with scores from 0 to 2, which must be from 0 to 1"),
        ("shape", r"returned an array of shape \(2\d,\) from judge for layer\d\.cls/\d+, not \(2\d,\)"),
    ],
)
def test_answers_that_are_none_blame_the_plugin(run_file, fault, said):
    with pytest.raises(saeviz.PluginError, match=rf"labeler: words of plugin .* {said}$"):
        saeviz.run(run_file, settings=[f"labeler.fault={fault}"])


@pytest.mark.slow
def test_a_label_that_cannot_be_judged_is_listed_and_tried_again(run_file, plugin):
    run = saeviz.run(run_file, settings=["labeler.fault=answers"])
    n_failed = len(run.failures)
    assert n_failed > 0
    assert {failure.stage for failure in run.failures} == {"judge"}
    assert all(failure.subject.startswith("layer") and "no answer" in failure.error for failure in run.failures)
    done = len(plugin["judged"])
    again = saeviz.run(run_file)
    assert len(plugin["judged"]) == n_failed < done
    assert again.failures == []
    assert len(again.judgements) == len(again.selected)


# going on


@pytest.mark.slow
def test_a_pause_keeps_what_is_judged_and_the_next_run_goes_on(run_file, plugin):
    paused = saeviz.run(run_file, settings=["labeler.budget=3"])
    assert len([one for one in lines_of(paused) if one.images]) == 3
    [failure] = paused.failures
    assert (failure.stage, "not judged yet" in failure.error) == ("judge", True)
    n_waiting = int(failure.subject.split()[0])
    whole = saeviz.run(run_file)
    assert len(plugin["judged"]) == n_waiting
    other = saeviz.run(run_file, settings=[f"run.dir={run_file.parent / 'other'}"])
    assert lines_of(whole) == lines_of(other)


@pytest.mark.slow
def test_only_what_has_changed_is_judged_again(run_file, plugin):
    first = saeviz.run(run_file)
    assert len(plugin["judged"]) > 3
    saeviz.run(run_file)
    assert plugin["judged"] != []
    second = saeviz.run(run_file, settings=["labeler.budget=1000"])
    assert second.manifest["stages"]["judge"] == first.manifest["stages"]["judge"]
    third = saeviz.run(run_file, settings=["run.judge_images=20"])
    assert third.manifest["stages"]["judge"]["counts"]["new"] > 0
    fourth = saeviz.run(run_file, settings=["run.judge_images=20"], plan=Plan(redo=("judge",)))
    assert fourth.manifest["stages"]["judge"]["counts"]["new"] > 0
    assert lines_of(fourth) == lines_of(third)


@pytest.mark.slow
def test_another_judge_is_another_matter(run_file, plugin):
    first = saeviz.run(run_file)
    labels = (first.dir / "labels.jsonl").read_text()
    settings = ["judge.use=fake-labeler"]
    other = saeviz.run(run_file, settings=settings)
    assert (other.dir / "labels.jsonl").read_text() == labels
    assert other.manifest["stages"]["judge"]["counts"]["new"] == first.manifest["stages"]["judge"]["counts"]["new"]
    assert other.manifest["config"]["judge"]["use"] == "fake-labeler"
    none = saeviz.run(run_file, settings=["judge.use=none"])
    assert none.judgements.empty
    assert lines_of(none) == []


@pytest.mark.slow
def test_names_of_earlier_versions_do_not_say_what_was_shown_and_are_judged_alike(run_file):
    whole = saeviz.run(run_file, settings=["labeler.seen=3"])
    path = whole.dir / "labels.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    tops = [[top.item.item_id for top in whole.top_images(one.feature)] for one in whole.selected]
    assert [row["shown"]["top"] for row in rows] == tops
    assert all(len(row["shown"]["contrast"]) == 9 for row in rows)
    manifest = json.loads((whole.dir / "run.json").read_text())
    del manifest["stages"]["label"]["sha256"]
    (whole.dir / "run.json").write_text(json.dumps(manifest))
    older = [{name: value for name, value in row.items() if name not in {"shown", "check"}} for row in rows]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in older))
    again = saeviz.run(run_file, settings=["labeler.seen=3"], plan=Plan(first="judge", redo=("judge",)))
    assert lines_of(again) == lines_of(whole)
    assert "shown" not in path.read_text()


@pytest.mark.slow
def test_a_dry_run_after_images_are_gone(saeviz_command, run_file):
    saeviz_command("run", run_file)
    told = saeviz_command("run", run_file, "--dry-run", "--set", "images.n=40")
    assert told.code == saeviz.ExitCode.DONE
    assert "features to name with words" in told.out
    assert "features to judge with words" in told.out


@pytest.mark.slow
def test_the_report_is_made_anew_after_judging(run_file):
    saeviz.run(run_file, settings=["judge.use=none"])
    log = run_file.parent / "runs" / "fake" / "log.txt"
    before = len(log.read_text())
    saeviz.run(run_file)
    said = log.read_text()[before:]
    assert "label: up to date" in said
    assert "report: up to date" not in said


@pytest.mark.slow
def test_a_damaged_file_says_what_to_do(run_file):
    run = saeviz.run(run_file)
    (run.dir / "judgements.jsonl").write_text('{"layer": 1}\n')
    with pytest.raises(saeviz.RunDirError, match="start with --from judge"):
        saeviz.run(run_file, plan=Plan(first="report", redo=("report",)))


# who judges


def test_who_judges(run_file):
    def judge(*settings):
        run = saeviz.run(run_file, settings=settings, plan=Plan(last="extract"))
        return run.manifest["config"]["judge"]["use"]

    assert judge() == "labeler"
    assert judge("judge.use=none") == "none"
    assert judge("judge.use=free") == "free"
    without = run_file.read_text().replace('[judge]\nuse = "labeler"\n', "")
    run_file.write_text(without)
    assert judge() == "none", "one that may cost something is not asked unbidden"
    assert judge("labeler.use=free") == "labeler"
    assert judge("labeler.use=free", "judge.use=none") == "none"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["judge.use=nobody"], "nobody"),
        (["labeler.use=none"], "judge: this run has no labeler"),
        (["judge.ending=x"], r"judge: put options of the labeler itself into \[labeler\]"),
        (["judge.use=free", "judge.colour=x"], r"judge\.colour"),
        (["judge.use=mute"], "judge: the labeler mute cannot judge labels"),
        (["judge.use=words", "judge.fault=no key"], r"judge\.api_key: there is no key"),
        (["labeler.fault=no key"], r"labeler\.api_key: there is no key"),
        (["run.judge_images=3"], r"run\.judge_images"),
    ],
)
def test_mistakes(run_file, settings, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        saeviz.run(run_file, settings=settings)


def test_a_judge_of_its_own_has_its_own_budget(run_file):
    run = saeviz.run(run_file, settings=["judge.use=words", "judge.budget=2"])
    assert "judge.max_calls" in run.failures[0].error
    assert run.manifest["stages"]["judge"]["usage"]["calls"] == 2
    assert run.manifest["plugins"]["judge"]["plugin"] == "words"


# telling


@pytest.mark.slow
def test_a_dry_run_says_what_judging_takes(saeviz_command, run_file):
    fresh = saeviz_command("run", run_file, "--dry-run")
    assert "judge    would run words; what it costs is known once features are selected" in fresh.out
    saeviz_command("run", run_file, "--until", "select")
    planned = saeviz_command("run", run_file, "--dry-run").out
    n = int(planned.split("labels of ")[1].split()[0])
    assert f"labels of {n} of 12 features to judge with words: about {n} calls with" in planned
    saeviz_command("run", run_file, "--set", "labeler.budget=3")
    left = saeviz_command("run", run_file, "--dry-run").out
    run = saeviz.open_run(run_file.parent / "runs" / "fake")
    n_waiting = int(run.failures[0].subject.split()[0])
    assert f"labels of {n_waiting} of 12 features to judge" in left
    assert n_waiting + 3 <= n
    anew = saeviz_command("run", run_file, "--dry-run", "--redo", "judge").out
    assert f"labels of {n_waiting + 3} of 12 features to judge" in anew
    assert "would run without a judge" in saeviz_command("run", run_file, "--dry-run", "--set", "judge.use=none").out


@pytest.mark.slow
def test_show_tells_the_verdict(saeviz_command, run_file):
    run = saeviz.run(run_file)
    judged = run.judgements[run.judgements["reason"] == ""].iloc[0]
    feature = f"layer{judged.layer}.{judged.tokens}/{judged.feature}"
    shown = saeviz_command("show", feature, "--run", run.dir).out
    assert f"label {judged.verdict}: balanced accuracy {judged.balanced_accuracy:.2f}" in shown
    found = saeviz_command("show", feature, "--run", run.dir, "--json").json()
    assert found["judgement"]["ci_low"] == pytest.approx(judged.ci_low)


# the numbers


@pytest.mark.parametrize(("count", "n"), [(0, 5), (3, 12), (12, 12), (250, 1000)])
def test_wilson(count, n):
    low, high = proportion_confint(count, n, method="wilson")
    assert proportion(count, n) == pytest.approx((count / n, low, high), abs=1e-6)


def outcomes_of(n, sensitivity, specificity):
    """Every possible interval, with how likely it is."""
    for a, b in product(range(n + 1), repeat=2):
        chance = binom.pmf(a, n, sensitivity) * binom.pmf(b, n, specificity)
        yield mean_of(proportion(a, n), proportion(b, n)), chance


@pytest.mark.slow
def test_the_interval_holds_what_it_promises():
    coverage = []
    for sensitivity, specificity in product((0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95), repeat=2):
        truth = (sensitivity + specificity) / 2
        found = outcomes_of(12, sensitivity, specificity)
        coverage.append(sum(chance for one, chance in found if one.low <= truth <= one.high))
    assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
    assert min(coverage) > 0.9


@pytest.mark.parametrize("says_yes", [0.1, 0.5, 0.7])
def test_guessing_is_seldom_confirmed(says_yes):
    found = outcomes_of(12, says_yes, 1 - says_yes)
    assert sum(chance for one, chance in found if verdict(one.low, one.high) == "confirmed") < 0.04


def test_area_under_curve():
    generator = np.random.default_rng(1)
    right, wrong = generator.integers(0, 6, 40) / 5, generator.integers(0, 4, 30) / 5
    found = area_under_curve(right.tolist(), wrong.tolist())
    assert found == pytest.approx(mannwhitneyu(right, wrong).statistic / (40 * 30))
    assert np.isnan(area_under_curve([], [0.5]))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.51, 0.6, "confirmed"),
        (0.83, 1.0, "confirmed"),
        (0.5, 0.74, "fails"),
        (0.1, 0.3, "fails"),
        (0.4, 0.8, "undecided"),
    ],
)
def test_verdicts(low, high, expected):
    assert verdict(low, high) == expected


def judgement(active, silent, hard=(), reason=""):
    images = [
        JudgedImage(f"{kind} {number}", kind, 1.0 if kind == "active" else 0.0, score)
        for kind, scores in (("active", active), ("silent", silent), ("hard", hard))
        for number, score in enumerate(scores)
    ]
    return Judgement(saeviz.Feature(1, "cls", 3), "red </script>\u2028", tuple(images), reason, "key")


def test_a_row():
    row = judgement([0.5, 1, 0.9, 0.49], [0, 0.2], [0.7, 0.5, 0.1]).as_row()
    assert row["reason"] == "only 4 held-out images on which it fires can be judged, and 5 are needed"
    row = judgement([0.5, 1, 0.9, 0.49, None, 0.8], [0, 0.2], [0.7, 0.5, 0.1]).as_row()
    assert (row["n_active"], row["n_silent"], row["n_hard"]) == (5, 5, 3)
    assert (row["sensitivity"], row["specificity"], row["hard_specificity"]) == pytest.approx((0.8, 0.6, 1 / 3))
    assert row["balanced_accuracy"] == pytest.approx(0.7)
    assert row["verdict"] == "undecided"


def test_judgements_survive_the_file():
    one = judgement([0.5, None], [0.2])
    assert Judgement.from_json(json.loads(one.as_text())) == one
    assert "\n" not in one.as_text()
    table = table_of([one, judgement([1] * 9, [0] * 9)])
    assert table["verdict"].tolist() == ["not judged", "confirmed"]
    assert table_of([]).dtypes.equals(table.dtypes)
    assert table["auc"].isna().tolist() == [True, False]
