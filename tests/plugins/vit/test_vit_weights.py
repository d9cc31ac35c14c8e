"""Where a model's weights may lie, and models that are laid out in other ways; what the options admit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from saeviz import DataError, ImageItem
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor
from tests.plugins.vit.runs import collect, context, vit_states


def test_safetensors_in_the_clip_folder(clip_folder, saes, images, tmp_path):
    from safetensors.torch import save_file

    folder = tmp_path / "tiny"
    folder.mkdir()
    shutil.copy(clip_folder / "open_clip_config.json", folder)
    state = torch.load(clip_folder / "open_clip_pytorch_model.bin", weights_only=True)
    save_file(state, folder / "open_clip_model.safetensors")
    rows = [
        collect(
            ClipExtractor(ClipOptions(clip_checkpoint=where, saes=saes, layers=[2]), context()).extract(images[:3])
        )["layer2.cls"][1]
        for where in (clip_folder, str(folder))
    ]
    np.testing.assert_array_equal(*rows)


def test_a_weights_file_of_another_architecture(clip_folder, saes, make, tmp_path):
    folder = make.sae(tmp_path, d_in=768)
    options = ClipOptions(clip_checkpoint=clip_folder / "open_clip_pytorch_model.bin", saes={1: folder}, layers=[1])
    extractor = ClipExtractor(options, context())
    assert extractor.spaces
    with pytest.raises(DataError, match=r"extractor\.saes\.1 .*W_enc has shape \[64, 256\], .* d_in = 768"):
        list(extractor.extract([ImageItem("a", b"")]))
    with pytest.raises(
        DataError, match=r"clip_checkpoint: .*\.bin is not a CLIP that open_clip can load \(.{1,300}\)$"
    ):
        extractor.embed_texts(["a"])


@pytest.mark.parametrize("kind", ["clip", "vit"])
@pytest.mark.parametrize("content", ["garbage", "evil"])
def test_model_weights_are_never_unpickled_freely(clip_folder, vit_folder, saes, tmp_path, kind, content):
    victim, folder = tmp_path / "victim", tmp_path / "tiny"
    shutil.copytree(clip_folder if kind == "clip" else vit_folder, folder)
    (folder / "model.safetensors").unlink(missing_ok=True)

    class Evil:
        def __reduce__(self):
            return open, (str(victim), "w")

    file = folder / ("open_clip_pytorch_model.bin" if kind == "clip" else "pytorch_model.bin")
    torch.save({"a": Evil()}, file) if content == "evil" else file.write_bytes(b"garbage")
    options = {"saes": saes, "layers": [1]}
    if kind == "clip":
        extractor = ClipExtractor(ClipOptions(clip_checkpoint=folder, **options), context())
    else:
        extractor = VitExtractor(VitOptions(model=folder, **options), context())
    with pytest.raises(DataError, match="load"):
        list(extractor.extract([ImageItem("a", b"")]))
    assert not victim.exists()


def test_a_model_with_missing_blocks_is_not_filled_up_at_random(vit_folder, saes, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(vit_folder, tmp_path / "tiny")
    file = tmp_path / "tiny" / "model.safetensors"
    state = {name: array for name, array in load_file(file).items() if "attention" not in name}
    save_file(state, file, metadata={"format": "pt"})
    extractor = VitExtractor(VitOptions(model=tmp_path / "tiny", saes=saes, layers=[1]), context())
    with pytest.raises(DataError, match=r"the weights of .* lack \d+ arrays such as .*attention"):
        list(extractor.extract([ImageItem("a", b"")]))


def test_register_tokens_are_not_patches(saes, tmp_path, images, make):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    vit = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**vit, num_register_tokens=4))
    model.save_pretrained(tmp_path / "tiny")
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(json.dumps(processor))
    extractor = VitExtractor(VitOptions(model=tmp_path / "tiny", saes=saes, layers=[1]), context())

    states = vit_states(tmp_path / "tiny", images[:1])[1][0]
    expected, _ = make.encode(states, make.weights(1))
    assert len(expected) == 1 + 4 + 16
    np.testing.assert_allclose(extractor.extract_spatial(images[0]).features, expected[5:], atol=2e-4)
    np.testing.assert_allclose(extractor.extract_from_image(images[0]).features, expected[0], atol=2e-4)


def test_a_model_without_a_class_token(saes, tmp_path, images):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    vit = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    SiglipVisionModel(SiglipVisionConfig(**vit)).save_pretrained(tmp_path / "tiny")
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(json.dumps(processor))

    def extract(tokens):
        options = VitOptions(model=tmp_path / "tiny", saes=saes, layers=[1], tokens=[tokens])
        return list(VitExtractor(options, context()).extract(images[:2]))

    assert extract("patch-max")[0].matrix.nnz > 0
    with pytest.raises(DataError, match="no class token; use patch-max or patch-mean"):
        extract("cls")


def test_a_model_that_is_no_plain_vision_transformer(saes, tmp_path, images):
    from transformers import SwinConfig, SwinModel

    SwinModel(SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 1], image_size=32)).save_pretrained(tmp_path / "s")
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    (tmp_path / "s" / "config.json").write_text(json.dumps({**config, "hidden_size": 64, "num_hidden_layers": 12}))
    (tmp_path / "s" / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    extractor = VitExtractor(VitOptions(model=tmp_path / "s", saes=saes, layers=[1]), context())
    with pytest.raises(DataError, match="no list of 12 transformer blocks; only plain vision transformers"):
        list(extractor.extract(images))


def test_the_image_half_of_a_transformers_clip(saes, tmp_path, images, make):
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=8))
    model.save_pretrained(tmp_path / "tiny")
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(json.dumps(processor))
    extractor = VitExtractor(VitOptions(model=tmp_path / "tiny", saes=saes, layers=[2]), context())
    assert extractor.extract_spatial(images[0]).grid == (4, 4)
    assert extractor.extract_from_image(images[0]).num_active > 0


def sources(options):
    return {table.layer: table.source for table in options.tables.values()}


def test_the_default_saes_are_the_published_ones():
    assert sources(ClipOptions()) == {
        layer: f"Prisma-Multimodal/sparse-autoencoder-clip-b-32-sae-vanilla-x64-layer-{layer}-hook_resid_post-l1-1e-05"
        for layer in (7, 8, 11)
    }
    assert sources(ClipOptions(layers=[2]))[2].endswith("layer-2-hook_resid_post-l1-5e-05")
    assert sources(ClipOptions(layers=range(12), saes={"3": "x/y"}))[3] == "x/y"


def test_layers_come_sorted_and_once_tokens_as_given():
    options = ClipOptions(layers=[11, 7, 7], tokens=["patch-mean", "cls", "cls"])
    assert (options.layers, options.tokens) == ((7, 11), ("patch-mean", "cls"))
    assert list(sources(VitOptions(model="m", saes={"9": "a/b", "2": "a/c"}))) == [2, 9]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": [12]}, "layers contains 12, for which saes names no SAE"),
        ({"layers": []}, "layers"),
        ({"layers": [-1]}, "layers"),
        ({"tokens": []}, "tokens"),
        ({"tokens": ["CLS"]}, "tokens"),
        ({"saes": {"seven": "x"}}, "saes"),
        ({"batch_size": 0}, "batch_size"),
        ({"precision": "float16"}, "precision"),
        ({"layer": [7]}, "layer"),
    ],
)
def test_options_that_make_no_sense(options, says):
    with pytest.raises(ValueError, match=says):
        ClipOptions(**options)


def test_vit_needs_an_sae_for_every_layer():
    with pytest.raises(ValueError, match=r"layers contains 9, for which saes names no SAE \(it has 8"):
        VitOptions(model="m", saes={8: "s"}, layers=[8, 9])


def test_the_hook_offers_both_and_every_option_is_explained():
    import saeviz_vit

    specs = {spec.name: spec for spec in saeviz_vit.saeviz_feature_extractors()}
    assert set(specs) == {"clip-b32-prisma", "vit-sae"}
    for spec in specs.values():
        fields = spec.options.model_fields
        assert [name for name, field in fields.items() if not field.description] == []
        paths = {name for name, field in fields.items() if (field.json_schema_extra or {}).get("path")}
        assert paths == {"saes", "clip_checkpoint" if spec.name == "clip-b32-prisma" else "model"}
