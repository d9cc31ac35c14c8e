"""The judge is judged as well: what it says of images that the labeler saw, and of all labels together."""

from __future__ import annotations

import logging
from math import isnan

import numpy as np
import pytest
from scipy.stats import binom

import saeviz
from saeviz.formats.accuracy import mean_of, proportion
from saeviz.formats.judgements import JUDGEMENTS, JudgedImage, Judgement, table_of
from saeviz.pipeline.naming.power import power_of
from tests.judged_runs import write_run

PLUGIN = """
import numpy as np
from pydantic import Field

import saeviz
from saeviz.testing.fakes import FakeLabeler, FakeLabelerOptions


class Options(FakeLabelerOptions):
    says: str = Field("", description="no, yes, or what is true")
    wrong: int = Field(0, description="every such name is another colour's")


class Words(FakeLabeler):
    def label(self, request):
        label = super().label(request)
        if self.options.wrong and request.feature.index % self.options.wrong == 0:
            return saeviz.FeatureLabel("plaid")
        return label

    def judge(self, label, images):
        if self.options.says:
            return np.full(len(images), float(self.options.says == "yes"))
        return super().judge(label, images)


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="words", summary="for a test", options=Options, factory=Words)
"""


@pytest.fixture
def run_file(tmp_path):
    return write_run(tmp_path, PLUGIN)


@pytest.mark.slow
@pytest.mark.parametrize("says", ["no", "yes"])
def test_a_judge_that_always_says_the_same_judges_nothing(run_file, saeviz_command, caplog, says):
    caplog.set_level(logging.INFO, "saeviz")
    run = saeviz.run(run_file, settings=["judge.use=words", f"judge.says={says}"])
    assert set(run.judgements["verdict"]) == {"not judged"}
    assert (run.judgements["n_seen"] > 0).any()
    reasons = [reason for reason in run.judgements["reason"] if "needed" not in reason]
    share = "0%" if says == "no" else "100%"
    assert reasons
    assert all(f"no power in this run: over all labels it says yes to {share} of the images" in one for one in reasons)
    stage = run.manifest["stages"]["judge"]
    assert stage["facts"]["judge_powerless"] == run.facts["judge_powerless"] == reasons[0]
    assert run.facts["judge_sensitivity_seen"] == run.facts["judge_false_positive_rate"] == float(says == "yes")
    assert "fails" not in stage["counts"]
    assert reasons[0] in caplog.text
    row = run.judgements[run.judgements["n_seen"] > 0].iloc[0]
    shown = saeviz_command("show", f"layer{row.layer}.{row.tokens}/{row.feature}", "--run", run.dir).out
    assert f"label not judged: {reasons[0]}" in shown


def test_a_judge_with_power_still_lets_wrong_names_fail(run_file, caplog):
    caplog.set_level(logging.INFO, "saeviz")
    run = saeviz.run(run_file, settings=["labeler.wrong=3"])
    assert run.facts["judge_powerless"] == ""
    judged = run.judged_images[run.judged_images["score"].notna()]
    for count, kinds in {"n_active": ["active"], "n_silent": ["silent", "hard"], "n_seen": ["seen"]}.items():
        own = judged[judged["kind"].isin(kinds)].groupby(saeviz.KEYS).size()
        expected = run.judgements.set_index(saeviz.KEYS)[count]
        assert own.reindex(expected.index, fill_value=0).tolist() == expected.tolist()
    judged = run.judgements[run.judgements["n_seen"] > 0]
    wrong = judged["label"] == "plaid"
    assert wrong.any()
    assert set(judged["verdict"][wrong]) == {"fails"}
    assert (judged["verdict"][~wrong] == "confirmed").any()
    assert "by guessing about" in caplog.text


@pytest.mark.slow
def test_seen_images_are_those_that_the_labeler_saw_and_stand_among_the_others(run_file):
    run = saeviz.run(run_file)
    lines = [one for one in JUDGEMENTS.read(run.dir / "judgements.jsonl").values() if one.images]
    assert lines
    for one in lines:
        top = {image.item.item_id for image in run.top_images(one.feature, 6)}
        assert {image.item_id for image in one.seen} <= top
        assert not top & {image.item_id for image in one.images}
        assert 0 < len(one.seen) <= 4


# the figures


def judgement(active, silent, seen=(), n=12):
    """So many of `n` images of either kind that the label is said to apply to."""
    kinds = (("active", active, n), ("silent", silent, n))
    images = [JudgedImage(f"{kind}{i}", kind, 1.0, float(i < yes)) for kind, yes, count in kinds for i in range(count)]
    shown = tuple(JudgedImage(f"seen{i}", "seen", 1.0, score) for i, score in enumerate(seen))
    return Judgement(saeviz.Feature(1, "cls", active), "a name", tuple(images), "", "key", shown)


@pytest.mark.parametrize(
    ("active", "silent", "seen", "has_power"),
    [
        (10, 1, (1, 1, 1, 0), True),
        (3, 1, (1, 1, 1, 1), True),
        (1, 1, (1, 0, 0, 0), False),
        (0, 0, (1, 1, 1, 1), False),
        (12, 12, (1, 1, 1, 1), False),
        (6, 1, (0, 0, 1, 0), False),
        (10, 1, (), True),
    ],
)
def test_where_a_judge_has_power(active, silent, seen, has_power):
    power = power_of([judgement(active, silent, seen)] * 60)
    assert (power.reason == "") is has_power


def test_many_wrong_names_do_not_take_the_power_from_a_judge():
    wrong, right = judgement(1, 1, (0, 0, 0, 0)), judgement(10, 1, (1, 1, 1, 1))
    assert power_of([*[wrong] * 50, *[right] * 10]).reason == ""
    blind = judgement(1, 1, (1, 1, 1, 0))
    assert power_of([*[wrong] * 50, *[blind] * 10]).reason != ""


def test_one_label_alone_says_little_of_its_judge():
    one = judgement(5, 5)
    assert power_of([one]).reason == ""
    assert table_of([one])["verdict"].tolist() == ["fails"]


def test_without_labels_there_is_nothing_to_say():
    power = power_of([])
    assert (power.reason, power.by_guessing, power.n) == ("", 0, 0)
    assert isnan(power.seen.value)
    assert power.as_facts()["judge_sensitivity_seen"] is None


def test_how_many_are_confirmed_by_guessing():
    one = judgement(9, 3)
    counts = np.arange(13)
    expected = sum(
        binom.pmf(a, 12, 0.5) * binom.pmf(b, 12, 0.5)
        for a in counts
        for b in counts
        if mean_of(proportion(int(a), 12), proportion(12 - int(b), 12)).low > 0.5
    )
    assert power_of([one] * 7).by_guessing == pytest.approx(7 * expected)
