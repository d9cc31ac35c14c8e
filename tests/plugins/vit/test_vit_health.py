"""The health check: figures that can be worked out by hand, and warnings when weights are in the wrong place."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

import saeviz
from saeviz import DataError, ImageItem
from saeviz.toolkit.sae import SAE, SAEConfig, SAEWeights, find
from saeviz.toolkit.sae.health import Examination
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor

CPU = torch.device("cpu")


def figures(health):
    return {figure.name: figure for figure in health.figures}


def measured(health, name):
    return figures(health)[name].measured


@pytest.fixture
def identity():
    """An SAE that gives back what it gets: a feature for either sign of each of 4 dimensions, about a mean of 5.

    24 further features never fire.
    """
    w_enc = torch.cat([torch.eye(4), -torch.eye(4), torch.zeros(4, 24)], dim=1)
    weights = SAEWeights(w_enc, torch.zeros(32), w_enc.T.clone(), torch.full((4,), 5.0))

    def build(trained_on="all", formula="published", **config):
        return SAE(SAEConfig(d_in=4, d_sae=32, trained_on=trained_on, **config), weights, formula=formula, device=CPU)

    return build


@pytest.fixture
def tokens():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 4, generator=generator) * 2 + 9, torch.randn(60, 4, generator=generator) + 5


def examined(sae, cls, patches, known=None):
    examination = Examination(sae)
    for part in (slice(0, 5), slice(5, None)):
        examination.add(None if cls is None else cls[part], patches[part])
    return examination.result("layer 1 (it)", known)


# -- figures -------------------------------------------------------------------------------------------------------


def test_what_is_given_back_unchanged_is_all_explained(identity, tokens):
    health = examined(identity(), *tokens)
    for kind in ("cls", "patches", "all"):
        assert measured(health, f"explained variance, {kind}") == pytest.approx(1, abs=1e-9)
    assert not health.warnings


def test_explained_variance_is_about_the_mean_of_each_kind_of_token(identity, tokens):
    """With the document's formula the features are of x, the estimate is off by the mean of 5 in every dimension."""
    cls, patches = tokens
    health = examined(identity(formula="document"), cls, patches)
    error = {"cls": 4 * 25.0 * len(cls), "patches": 4 * 25.0 * len(patches)}
    spread = {
        name: float(((x.double() - x.double().mean(0)) ** 2).sum()) for name, x in zip(error, tokens, strict=True)
    }
    for kind, wrong in error.items():
        assert measured(health, f"explained variance, {kind}") == pytest.approx(1 - wrong / spread[kind], rel=1e-6)
    both = 1 - sum(error.values()) / sum(spread.values())
    assert measured(health, "explained variance, all") == pytest.approx(both, rel=1e-6)
    assert "explained variance, all" in health.warnings[0]


def test_l0_and_features_that_never_fire(identity, tokens):
    cls, patches = tokens
    cls = cls.abs() + 6
    health = examined(identity(), cls, patches)
    assert measured(health, "L0, cls") == 4
    fired = torch.cat([patches > 5, patches < 5], 1)
    assert measured(health, "L0, patches") == pytest.approx(fired.sum().item() / len(patches))
    assert measured(health, "share of features that never fired") == 24 / 32
    only_above = examined(identity(), cls, patches.abs() + 6)
    assert measured(only_above, "share of features that never fired") == 28 / 32


@pytest.mark.parametrize(
    ("trained_on", "kinds"),
    [("cls", ["cls"]), ("patches", ["patches"]), ("all", ["cls", "patches", "all"]), (None, ["cls", "patches", "all"])],
)
def test_only_tokens_that_it_has_seen_are_looked_at(identity, tokens, trained_on, kinds):
    health = examined(identity(trained_on=trained_on), *tokens)
    assert [name.split(", ")[1] for name in figures(health) if name.startswith("L0")] == kinds


def test_a_model_without_a_class_token(identity, tokens):
    assert "L0, cls" not in figures(examined(identity(), None, tokens[1]))


def test_tokens_that_do_not_vary_have_no_explained_variance(identity, tokens):
    same = torch.ones(12, 4)
    health = examined(identity(trained_on="cls"), same, tokens[1])
    assert math.isnan(measured(health, "explained variance, cls"))
    assert not [warning for warning in health.warnings if "variance" in warning]


# -- what is far off -----------------------------------------------------------------------------------------------


def published(**changes):
    return dataclasses.replace(find("prisma-x64-7"), **{"explained_variance": 1.0, "l0": 4.0, "l0_cls": 4.0, **changes})


def test_published_figures_stand_beside_the_measured_ones(identity, tokens):
    found = figures(examined(identity(), *tokens, published()))
    assert found["explained variance, all"].published == 1.0
    assert found["L0, all"].published == found["L0, cls"].published == 4.0
    assert found["explained variance, patches"].published is found["L0, patches"].published is None


def test_published_figures_of_an_sae_of_class_tokens(identity, tokens):
    known = published(tokens="cls", l0=None)
    found = figures(examined(identity(trained_on="cls"), *tokens, known))
    assert found["explained variance, cls"].published == 1.0
    assert found["L0, cls"].published == 4.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"explained_variance": 1.14}, None),
        ({"explained_variance": 1.16}, "explained variance, all is 1, published 1.16"),
        ({"l0": 7.9, "l0_cls": 2.1}, None),
        ({"l0": 8.5}, "L0, all is 4, published 8.5"),
        ({"l0": 1.9}, "L0, all is 4, published 1.9"),
        ({"l0_cls": 8.5}, "L0, cls is 4, published 8.5"),
    ],
)
def test_what_is_far_off(identity, tokens, changes, says):
    warnings = examined(identity(), *tokens, published(**changes)).warnings
    assert len(warnings) == (says is not None)
    if says:
        assert says in warnings[0]
        assert "layer 1 (it): " in warnings[0]
        assert "model, layer, weights and formula" in warnings[0]


def test_without_published_figures_an_sae_must_explain_its_input_and_be_sparse(make):
    x = torch.randn(500, make.width)
    weights = SAEWeights(**make.weights())

    def warnings(weights):
        return examined(SAE(SAEConfig(d_in=64, d_sae=256), weights, formula="published", device=CPU), x, x).warnings

    assert "expected at least 0.6" in warnings(weights)[0]
    dense = dataclasses.replace(weights, b_enc=torch.full((256,), 99.0))
    assert any("L0, all is 256, expected 1 to 64" in warning for warning in warnings(dense))


# -- an extractor --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["clip", "vit"])
def build(request, make, tmp_path):
    folder = request.getfixturevalue(f"{request.param}_folder")
    sae = make.sae(tmp_path / "sae", context_size=...)

    def build(**options):
        options, context = {"saes": {1: sae}, **options}, saeviz.Context(device="cpu", failed=lambda *_: None)
        if request.param == "clip":
            return ClipExtractor(ClipOptions(clip_checkpoint=folder, layers=[1], **options), context)
        return VitExtractor(VitOptions(model=folder, **options), context)

    return build


def test_an_extractor_checks_every_layer_on_the_tokens_of_its_model(build, images, make):
    extractor = build(batch_size=4)
    assert isinstance(extractor, saeviz.Checkable)
    (health,) = extractor.health(images)
    assert health.subject.startswith("layer 1 (")

    l0 = [result.num_active for result in map(extractor.extract_from_image, images)]
    assert measured(health, "L0, cls") == pytest.approx(np.mean(l0))
    patches = [(extractor.extract_spatial(image).features > 0).sum(1).mean() for image in images]
    assert measured(health, "L0, patches") == pytest.approx(np.mean(patches))


def test_figures_do_not_depend_on_batches(build, images, monkeypatch):
    (whole,) = build(batch_size=32).health(images)
    monkeypatch.setattr("saeviz.toolkit.sae.health.VALUES_AT_ONCE", 1)
    (parts,) = build(batch_size=3).health(images)
    for name, figure in figures(whole).items():
        assert measured(parts, name) == pytest.approx(figure.measured, rel=1e-4)


def test_unreadable_pictures_are_left_out_and_none_at_all_is_an_error(build, images):
    (health,) = build().health([ImageItem("broken", b""), *images])
    (same,) = build().health(images)
    assert measured(health, "L0, all") == measured(same, "L0, all")
    with pytest.raises(DataError, match="none of the 1 images"):
        list(build().health([ImageItem("broken", b"")]))


# -- photographs ---------------------------------------------------------------------------------------------------


def run_file(shared, folder, **extractor):
    models = shared / "models"
    extractor = {"use": "vit-sae", "model": str(models / "vit-s14"), **extractor}
    extractor.setdefault("saes", {"8": str(models / "sae-vit-s14-block8")})
    saes = extractor.pop("saes")
    lines = ["[images]", f"path = {json.dumps(str(shared / 'oasis' / 'images'))}", "[extractor]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in extractor.items()]
    lines += ["[extractor.saes]", *(f"{layer} = {json.dumps(place)}" for layer, place in saes.items())]
    lines += ["[embeddings]", 'use = "none"', "[run]", 'device = "cpu"']
    (folder / "art.toml").write_text("\n".join(lines))


def deep(command, *arguments):
    return command("check", "art.toml", "--deep", "--sample", "12", *arguments)


def test_the_right_weights_in_the_right_place(shared, tmp_path, saeviz_command):
    run_file(shared, tmp_path)
    ended = deep(saeviz_command, "--json")
    assert ended.code == saeviz.ExitCode.DONE, ended
    (health,) = ended.json()["health"]
    found = {figure["name"]: figure["measured"] for figure in health["figures"]}
    assert found["explained variance, all"] == pytest.approx(0.82, abs=0.04)
    assert found["explained variance, cls"] == pytest.approx(0.82, abs=0.06)
    assert found["L0, all"] == 40
    assert found["share of features that never fired"] < 0.2
    assert health["warnings"] == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("wrong", [{"formula": "document"}, {"layer": "7"}, {"layer": "9"}])
def test_the_wrong_formula_and_the_wrong_layer_are_told(shared, tmp_path, saeviz_command, wrong):
    if "layer" in wrong:
        run_file(
            shared, tmp_path, saes={wrong["layer"]: str(shared / "models" / "sae-vit-s14-block8")}, allow_mismatch=True
        )
    else:
        run_file(shared, tmp_path, **wrong)
    ended = deep(saeviz_command)
    assert ended.code == saeviz.ExitCode.FAILED
    assert "saeviz: warning: layer" in ended.err
    assert "explained variance, all is 0.3" in ended.err
    assert "explained variance, all" in ended.out
