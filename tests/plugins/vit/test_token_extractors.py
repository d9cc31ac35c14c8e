"""Three extractors on `TokenExtractor`, as a stranger would write them: below 60 lines each, with all that runs ask."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import saeviz
from saeviz import ConfigError, DataError, PluginError
from saeviz.discovery.sources import PluginChoice
from saeviz.testing import FeatureExtractorContract, run_with
from saeviz.testing.data import pictures
from saeviz.toolkit import TokenExtractor
from saeviz.toolkit.sae import SAEOptions
from saeviz.toolkit.tokens import TokenGrid
from tests.plugins.vit.conftest import CLIP_CONFIG, PREPROCESSOR, sae_weights

EXTRACTORS = Path(__file__).parents[2] / "third_party" / "extractors"
D_SAE = 96


def siglip(folder):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return {0: 32, 1: 32}


def convnet(folder):
    import timm
    from safetensors.torch import save_file

    model = timm.create_model("test_convnext", num_classes=0)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    cfg = {"input_size": [3, 64, 64], "crop_pct": 0.9, "num_classes": 0}
    config = {"architecture": "test_convnext", "num_classes": 0, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return {"stage1": 32, "stage3": 64}


def large_clip(folder):
    import open_clip
    from safetensors.torch import save_file

    config = copy.deepcopy(CLIP_CONFIG)
    config["vision_cfg"] |= {"layers": 2, "width": 128, "patch_size": 14}
    folder.mkdir()
    save_file(open_clip.CLIP(**copy.deepcopy(config)).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return {0: 128, 1: 128}


@pytest.fixture(scope="module", params=[siglip, convnet, large_clip], ids=lambda write: write.__name__)
def case(request, tmp_path_factory):
    """The plugin, and the options for a model and SAEs with random weights."""
    name, root = request.param.__name__, tmp_path_factory.mktemp("tokens")
    plugin = PluginChoice.parse([str(EXTRACTORS / f"{name}.py")], root).extra[0].load()
    torch.manual_seed(0)
    saes = {
        str(layer): write_sae(root / f"sae-{layer}", width) for layer, width in request.param(root / "model").items()
    }
    return plugin, {"model": str(root / "model"), "saes": saes, "engine": "torch"}


def write_sae(folder, width):
    """An SAE of saev, which does not say what it was trained on."""
    folder.mkdir()
    header = {"schema": 5, "cfg": {"d_model": width, "d_sae": D_SAE, "activation": {"cls": "Relu", "params": {}}}}
    with (folder / "sae.pt").open("wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(sae_weights(0, width, D_SAE), file)
    return str(folder)


def build(case, context=None, **changes):
    plugin, options = case
    (spec,) = plugin.saeviz_feature_extractors()
    return spec.factory(spec.options(**{**options, **changes}), context or saeviz.Context(device="cpu"))


class TestContract(FeatureExtractorContract):
    @pytest.fixture
    def make(self, case):
        return lambda context: build(case, context, batch_size=2)


def test_each_is_a_page(case):
    assert len(Path(case[0].__file__).read_text().splitlines()) < 60


def test_a_run_has_heatmaps_and_the_rest(case, tmp_path):
    plugin, options = case
    run = run_with(plugin, tmp_path / "run", **options)
    space = run.spaces[-1]
    feature = run.selected[0].feature
    heat = run.heatmap(feature, run.items[0].item_id, fine=True)
    assert heat.shape[0] % 5 == heat.shape[1] % 5 == 0
    assert run.field_of_view(run.items[0].item_id)
    record = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["extract"]["provenance"]
    assert (record["model"], record["engine"][:5]) == (options["model"], "torch")
    assert list(record["saes"]) == list(map(str, options["saes"]))
    assert space.n_features == D_SAE


# -- what an author does wrong -------------------------------------------------------------------------------------


class Convolution(TokenExtractor):
    """The least that an extractor needs."""

    def load(self):
        from torchvision.transforms.functional import pil_to_tensor, resize

        return lambda image: pil_to_tensor(resize(image, [32, 32])) / 255, torch.nn.Conv2d(3, 16, 8, 8)

    def tokens(self, model, pixels, points):
        return [model(pixels).permute(0, 2, 3, 1) for _ in points]


@pytest.fixture
def convolution(tmp_path):
    def make(tokens=None, width=16, kinds=("patch-max",), **options):
        sae = write_sae(tmp_path / "sae", width)
        extractor = type("Mine", (Convolution,), {"tokens": tokens} if tokens else {})
        options = {"saes": {"stage1": sae}, "tokens": kinds, "engine": "torch", **options}
        if isinstance(options["saes"], list):
            options["saes"][0]["source"] = sae
        return extractor(SAEOptions(**options), saeviz.Context(device="cpu"))

    return make


def flat(self, model, pixels, points):
    return [tokens.flatten(1, 2) for tokens in Convolution.tokens(self, model, pixels, points)]


def alone(self, model, pixels, points):
    return Convolution.tokens(self, model, pixels, points)[0]


def none(self, model, pixels, points):
    return []


def named(self, model, pixels, points):
    return ["patches"]


def rows_of_cls(self, model, pixels, points):
    (patches,) = Convolution.tokens(self, model, pixels, points)
    return [TokenGrid(patches, patches[:, 0])]


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (
            flat,
            r"Mine\.tokens at stage1 gives patches of shape \(1, 16, 16\) for 1 images; \[n, rows, cols, d\] belongs",
        ),
        (alone, r"Mine\.tokens gives a Tensor instead of a list"),
        (none, r"Mine\.tokens gives 0 arrays for 1 hook points"),
        (named, r"Mine\.tokens at stage1 gives a str as patches"),
        (rows_of_cls, r"Mine\.tokens at stage1 gives cls of shape \(1, 4, 16\) for 1 images; \[n, d\] belongs there"),
    ],
)
def test_tokens_of_another_shape_are_named(convolution, tokens, says):
    with pytest.raises(PluginError, match=says):
        list(convolution(tokens).extract(pictures(1)))


def test_an_sae_of_another_width_is_named(convolution):
    with pytest.raises(
        DataError, match=r"extractor\.saes\.stage1: the SAE has d_in = 8, but Mine gives tokens of length 16"
    ):
        list(convolution(width=8).extract(pictures(1)))


def test_a_class_token_that_the_model_lacks_is_named(convolution):
    with pytest.raises(DataError, match=r"extractor\.tokens: this vision model has no class token"):
        list(convolution(kinds=["cls"]).extract(pictures(1)))


def test_a_hook_that_the_extractor_does_not_read_is_refused(convolution):
    with pytest.raises(ConfigError, match=r"saes\.0: hook 'mlp_out' cannot be read in this model; there is resid_post"):
        convolution(saes=[{"layer": "stage1", "hook": "mlp_out"}])


@pytest.mark.parametrize("stage", ["Stage 1", "1st", "-3", "1001"])
def test_what_is_no_layer_is_refused(stage):
    with pytest.raises(ValidationError, match="is not a layer; give the number of a block, 0 to 1000, or the name"):
        SAEOptions(saes={stage: "owner/sae"})
