"""Vision transformers of several families, each in the layout its repository has: the residual stream is its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from saeviz import DataError
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor
from tests.plugins.vit.conftest import PREPROCESSOR, VIT_CONFIG
from tests.plugins.vit.runs import context

TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 99}
DECODER = {
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
}


def clip():
    config = transformers.CLIPConfig(vision_config=VIT_CONFIG, text_config=TEXT, projection_dim=8)
    return transformers.CLIPModel(config)


def dinov2():
    return transformers.Dinov2Model(transformers.Dinov2Config(**VIT_CONFIG))


def siglip():
    return transformers.SiglipModel(transformers.SiglipConfig(vision_config=VIT_CONFIG, text_config=TEXT))


def mae():
    return transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**VIT_CONFIG, **DECODER))


def deit():
    return transformers.ViTForImageClassification(transformers.ViTConfig(**VIT_CONFIG))


def distilled():
    return transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**VIT_CONFIG))


def write(folder, model):
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def patches_of(model, pixels):
    """The residual stream after the second block, patches alone, as the library's own forward pass has it."""
    if isinstance(model, transformers.ViTMAEForPreTraining):  # leaves out three of four and shuffles, if it may
        model.config.mask_ratio = 0.0
        states = model.vit(pixels, noise=torch.arange(16.0)[None], output_hidden_states=True).hidden_states
    else:
        states = getattr(model, "vision_model", model)(pixels, output_hidden_states=True).hidden_states
    return states[2][0, -16:].detach().numpy()


@pytest.mark.parametrize("family", [clip, dinov2, siglip, mae, deit, distilled])
def test_features_are_those_of_the_models_own_residual_stream(family, saes, tmp_path, images, make):
    torch.manual_seed(3)
    model = family().eval()
    folder = write(tmp_path / "tiny", model)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = processor(images[0].open().convert("RGB"), return_tensors="pt")["pixel_values"]

    extractor = VitExtractor(VitOptions(model=folder, saes=saes, layers=[1], tokens=["patch-max"]), context())
    found = next(iter(extractor.extract(images[:1]))).matrix.toarray()[0]
    expected, _ = make.encode(patches_of(model, pixels), make.weights(1))
    assert (expected > 0).any()
    np.testing.assert_allclose(found, expected.max(axis=0), atol=2e-4)


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_what_a_config_leaves_out_is_the_default_of_its_class(kind, saes, tmp_path):
    """As google/siglip-base-patch16-224, whose config.json gives no size at all."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    vision = {"model_type": f"{kind}_vision_model"}
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "vision_config": vision, "text_config": {}}))
    extractor = VitExtractor(VitOptions(model=folder, saes=saes, layers=[1]), context())
    with pytest.raises(DataError, match="768"):
        _ = extractor.spaces


def test_a_config_without_sizes_of_no_known_model(saes, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "of-a-stranger"}')
    extractor = VitExtractor(VitOptions(model=tmp_path, saes=saes, layers=[1]), context())
    with pytest.raises(DataError, match="does not describe a vision transformer"):
        _ = extractor.spaces
