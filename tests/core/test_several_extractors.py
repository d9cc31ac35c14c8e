"""Several extractors in one run: names in front of their spaces, and one family of all that follows."""

from __future__ import annotations

import json

import numpy as np
import pytest

import saeviz
from saeviz.contract.combined import combined

TWO = """
[[extractors]]
name = "clip"
use = "fake-extractor"
layers = [1]
[[extractors]]
name = "dino"
use = "fake-extractor"
layers = [1, 2]
tokens = ["cls", "patch-max"]
n_features = 40
"""
SPACES = ["clip.layer1.cls", "dino.layer1.cls", "dino.layer1.patch-max", "dino.layer2.cls", "dino.layer2.patch-max"]


@pytest.fixture
def two(fake_run):
    """A run file with two extractors."""
    text = fake_run.read_text()
    fake_run.write_text(text.replace('[extractor]\nuse = "fake-extractor"\n', TWO))
    return fake_run


def test_every_stage_goes_over_the_spaces_of_all(two):
    run = saeviz.run(two)

    assert [str(space) for space in run.spaces] == SPACES
    assert {space.n_features for space in run.spaces} == {32, 40}
    for table in (run.scores, run.correlations):
        assert set(table["sae"]) == {"clip", "dino"}
    tested = run.correlations["q"].notna().sum()
    assert run.facts["correlation_family_size"] == tested, "one family"
    assert {choice.feature.sae for choice in run.selected} == {"clip", "dino"}
    assert set(run.labels) == {choice.feature for choice in run.selected}
    for choice in run.selected[:3]:
        assert run.top_images(choice.feature)[0].activation == pytest.approx(run.scores_of(choice.feature)["max"])


@pytest.mark.slow
def test_the_features_are_those_of_each_extractor_alone(two, fake_run, tmp_path):
    both = saeviz.run(two)
    for name in ("clip", "dino"):
        alone = tmp_path / f"{name}.toml"
        options = TWO.split("[[extractors]]")[1 if name == "clip" else 2].replace(f'name = "{name}"', "")
        alone.write_text(two.read_text().replace(TWO, f"[extractor]{options}"))
        single = saeviz.run(alone, settings=[f'run.dir="{tmp_path / name}"'])
        for space in single.spaces:
            expected, found = single.features(space), both.features(f"{name}.{space}")
            assert found.item_ids == expected.item_ids
            assert (found.matrix != expected.matrix).nnz == 0


@pytest.mark.slow
def test_the_same_command_again_does_nothing_and_a_new_option_of_one_extracts_again(two, caplog):
    saeviz.run(two)
    caplog.clear()
    saeviz.run(two)
    assert "24 of 24 images to do" not in caplog.text

    changed = saeviz.run(two, settings=["extractors.1.layers=[2]"])
    assert [str(space) for space in changed.spaces] == ["clip.layer1.cls", "dino.layer2.cls", "dino.layer2.patch-max"]


@pytest.mark.slow
def test_an_open_run_looks_at_single_images_by_the_extractor_of_a_feature(two):
    saeviz.run(two)
    run = saeviz.open_run(two.parent / "runs" / "fake", plugins=["module:saeviz.testing.fakes"])
    item = run.top_images("dino.layer2.cls/3")[0].item
    found = run.heatmap("dino.layer2.cls/3", item.item_id)
    other = run.heatmap("clip.layer1.cls/3", item.item_id)
    assert found.shape == other.shape
    assert np.isfinite(found).all()
    assert run.field_of_view(item.item_id, "dino.layer2.cls/3") == run.field_of_view(item.item_id)
    assert run.heatmap_image("clip.layer1.cls/3", item.item_id).mode == "RGB"


@pytest.mark.slow
def test_single_images_are_answered_by_the_name_that_was_asked_for(two):
    run = saeviz.run(two)
    both = combined(
        {
            name: saeviz.component(
                "extractor", "fake-extractor", layers=[1], tokens=["patch-max"], plugins=["module:saeviz.testing.fakes"]
            )
            for name in ("clip", "dino")
        }
    )
    found = both.extract_from_image(run.items[0], "dino.layer1")
    assert str(found.space) == "dino.layer1.cls"
    assert both.extract_spatial(run.items[0], "dino.layer1").layer == "dino.layer1"


PLUGIN = """
import pathlib
import saeviz
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions

{mine}

@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(name="mine", summary="for a test", factory=Mine, options=FakeExtractorOptions)
"""


def written(run_file, mine):
    """The words of `--plugins` for a plugin beside the run file that offers the class `Mine`."""
    plugin = run_file.parent / "mine.py"
    plugin.write_text(PLUGIN.replace("{mine}", mine))
    return [str(plugin), "module:saeviz.testing.fakes"]


NAMED = """
class Mine(FakeExtractor):
    @property
    def spaces(self):
        return [saeviz.FeatureSpace(1, "cls", 32, "mlp")]
"""


def test_two_extractors_that_mean_the_same_space_are_told_apart_by_name(two):
    words = written(two, NAMED)
    text = two.read_text().replace('name = "clip"\nuse = "fake-extractor"', 'name = "text"\nuse = "mine"')
    two.write_text(text.replace('name = "dino"', 'name = "text-mlp"').replace("n_features = 40", ""))
    with pytest.raises(
        saeviz.ConfigError, match=r"extractors\.0 and extractors\.1 both have the space text-mlp\.layer1\.cls"
    ):
        saeviz.run(two, plugins=words)


SOURCED = """
class Mine(FakeExtractor):
    @property
    def provenance(self):
        return {"layers": list(self.options.layers)}
"""


@pytest.mark.slow
def test_where_features_come_from_is_kept_whatever_is_extracted_last(two):
    words = written(two, SOURCED)
    two.write_text(two.read_text().replace('use = "fake-extractor"', 'use = "mine"'))

    def provenance():
        run = saeviz.run(two, plugins=words)
        return run.manifest["stages"]["extract"]["provenance"]

    first = provenance()
    assert first == {"clip": {"layers": [1]}, "dino": {"layers": [1, 2]}}
    two.write_text(two.read_text().replace("n = 24", "n = 25\nbroken = 1"))
    assert provenance() == first, "the new picture cannot be read"


COUNTING = """
HERE = pathlib.Path(__file__).parent

class Mine(FakeExtractor):
    def extract(self, items):
        for number, batch in enumerate(super().extract(items)):
            if number == 4 and self.options.n_features == 40 and (HERE / "stop").exists():
                raise KeyboardInterrupt
            with (HERE / "seen.txt").open("a") as seen:
                seen.write(f"{self.options.n_features} {len(batch)}\\n")
            yield batch
"""


@pytest.mark.slow
def test_a_run_that_was_stopped_in_the_second_does_not_repeat_the_first(two):
    words = written(two, COUNTING)
    two.write_text(two.read_text().replace('use = "fake-extractor"', 'use = "mine"'))
    (two.parent / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        saeviz.run(two, plugins=words)
    seen = two.parent / "seen.txt"
    assert seen.read_text().splitlines().count("32 4") == 6, "all 24 images by the first"
    seen.unlink()
    (two.parent / "stop").unlink()
    run = saeviz.run(two, plugins=words)
    assert len(run.features("clip.layer1.cls").item_ids) == 24
    assert not [line for line in seen.read_text().splitlines() if line.startswith("32")]


def test_what_one_extractor_can_and_another_cannot_is_said_by_name():
    able, plain = Able(), Plain()
    both = combined({"able": able, "plain": plain})
    assert isinstance(both, saeviz.HasDecoder)
    assert not isinstance(both, saeviz.TextAligned)
    assert both.decoder(saeviz.FeatureSpace(1, "cls", 2, "able")).tolist() == [[1.0], [2.0]]
    with pytest.raises(saeviz.ConfigError, match="the extractor 'plain' of this run has no decoder directions"):
        both.decoder(saeviz.FeatureSpace(3, "cls", 2, "plain"))


def test_an_extractor_is_not_asked_where_its_features_come_from_before_it_is_loaded():
    late = type("Late", (Plain,), {"provenance": property(lambda one: {"model": one.model})})()
    both = combined({"late": late, "plain": Plain()})
    late.model = "one"
    assert both.provenance == {"late": {"model": "one"}}


def test_what_an_extractor_delegates_counts():
    both = combined({"wrapped": Wrapping(Able()), "plain": Plain()})
    # From Python 3.12 on, `isinstance` does not ask an object for what its class lacks.
    if isinstance(Wrapping(Able()), saeviz.HasDecoder):
        assert both.decoder(saeviz.FeatureSpace(1, "cls", 2, "wrapped")).tolist() == [[1.0], [2.0]]


class Plain:
    """An extractor that can do what it must, and no more."""

    spaces = (saeviz.FeatureSpace(3, "cls", 2),)

    def extract(self, items):
        """Nothing."""
        return iter(())


class Able(Plain):
    """One that has decoder directions."""

    spaces = (saeviz.FeatureSpace(1, "cls", 2),)

    def decoder(self, space):
        """Of the only SAE."""
        assert space in self.spaces, "it is asked by its own name of the space"
        return np.array([[1.0], [2.0]], np.float32)


class Wrapping(Plain):
    """One that is asked in place of another."""

    def __init__(self, other):
        self.other, self.spaces = other, other.spaces

    def __getattr__(self, name):
        return getattr(self.other, name)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "dino"\n', "", r"extractors\.1: give it a name"),
        ('name = "dino"', 'name = "clip"', r"extractors\.1\.name: another extractor is called 'clip'"),
        ('name = "dino"', 'name = "../Dino"', r"extractors\.1\.name: a lower-case letter"),
        (
            '[[extractors]]\nname = "clip"',
            '[extractor]\nuse = "fake-extractor"\n[[extractors]]\nname = "clip"',
            "either",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(two, before, after, message):
    two.write_text(two.read_text().replace(before, after))
    with pytest.raises(saeviz.ConfigError, match=message) as refused:
        saeviz.run(two)
    assert len(str(refused.value).splitlines()) == 1, "each mistake is told once"


@pytest.mark.slow
def test_the_manifest_has_them_as_the_run_file_and_is_read_again(two):
    run = saeviz.run(two)
    config = json.loads((run.dir / "run.json").read_text())["config"]
    assert "extractor" not in config
    assert [one["name"] for one in config["extractors"]] == ["clip", "dino"]


@pytest.mark.slow
def test_a_picture_that_one_cannot_read_is_left_out_once_and_for_all(two):
    two.write_text(two.read_text().replace("n = 24", "n = 24\nbroken = 2"))
    run = saeviz.run(two)
    failed = [failure.subject for failure in run.failures if failure.stage == "extract"]
    assert len(failed) == len(set(failed)) == 2
    assert len(run.features("clip.layer1.cls").item_ids) == 22
