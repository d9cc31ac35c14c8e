from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import saeviz
from saeviz.testing import EmbeddingProviderContract
from saeviz.testing.data import pictures
from saeviz_dinov2 import Dinov2Options
from saeviz_dinov2.embeddings import Dinov2Embeddings

SHARED = Path(__file__).parents[3] / "shared"
OFFLINE = saeviz.Context(device="cpu", offline=True, place="embeddings")
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny DINOv2 with random weights, saved as the published one is."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dinov2") / "model"
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    tiny = Dinov2Model(config)
    # Otherwise the final LayerNorm does nothing that a test could see.
    torch.nn.init.uniform_(tiny.layernorm.weight, 0.5, 2.0)
    tiny.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    return folder


@pytest.fixture
def copy(model, tmp_path):
    """The folder of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


def embeddings(model, context=OFFLINE, **options):
    return Dinov2Embeddings(Dinov2Options(model=str(model), **{"engine": "torch", **options}), context)


def test_the_file_with_the_weights_is_known_before_it_is_read(model):
    provider = embeddings(model)
    assert isinstance(provider, saeviz.HasModelFiles)
    assert provider.model_files() == [model / "model.safetensors"]


class TestContract(EmbeddingProviderContract):
    @pytest.fixture
    def make(self, model):
        return lambda context: embeddings(model, context, batch_size=3)


def test_gives_the_class_token_after_the_final_layer_norm(model):
    import torch
    from torchvision.transforms import functional
    from transformers import Dinov2Model

    items = pictures(3)
    mean, std = PROCESSOR["image_mean"], PROCESSOR["image_std"]
    reference = Dinov2Model.from_pretrained(model).eval()
    with torch.inference_mode():
        pixels = [functional.to_tensor(functional.center_crop(item.open(), [28, 28])) for item in items]
        normal = torch.stack([functional.normalize(one, mean, std) for one in pixels])
        states = reference(pixel_values=normal, output_hidden_states=True).hidden_states[-1]
        before, expected = states[:, 0].numpy(), reference.layernorm(states)[:, 0].numpy()
    rows = embeddings(model).embed(items)
    np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(rows - before).max() > 0.1


def test_the_length_is_known_from_the_config_alone(copy):
    (copy / "model.safetensors").unlink()
    (copy / "preprocessor_config.json").unlink()
    assert embeddings(copy).dim == 16


def test_bfloat16_is_close_to_float32_and_comes_as_float32(model):
    precise = embeddings(model).embed(pictures(2))
    fast = embeddings(model, saeviz.Context(device="cpu", precision="bfloat16")).embed(pictures(2))
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - precise).max() < 0.1 * np.abs(precise).max()


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_openvino_gives_the_same_in_batches_of_any_size(model, engine):
    items = pictures(7)
    expected = embeddings(model).embed(items)
    embedder = embeddings(model, engine=engine, batch_size=4)
    assert embedder.provenance == {"engine": None}
    for n in (7, 1, 3):
        found = embedder.embed(items[:n])
        np.testing.assert_allclose(found, expected[:n], atol=1e-5 * np.abs(expected).max())
    assert isinstance(embedder, saeviz.HasProvenance)
    assert embedder.provenance["engine"].startswith("openvino 20")


def test_bfloat16_on_openvino_is_close_to_float32(model):
    context = saeviz.Context(device="cpu", precision="bfloat16")
    precise, fast = (
        embeddings(model).embed(pictures(2)),
        embeddings(model, context, engine="openvino").embed(pictures(2)),
    )
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - precise).max() < 0.1 * np.abs(precise).max()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_says_nothing_on_the_console(model, capfd, caplog, engine):
    with caplog.at_level(logging.WARNING, logger="saeviz"):
        embeddings(model, engine=engine).embed(pictures(2))
    assert capfd.readouterr() == ("", "")


def test_pictures_of_several_sizes_without_a_crop(copy):
    from PIL import Image

    (copy / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, "do_center_crop": False}))
    items = [saeviz.ImageItem(f"{w}", lambda w=w: Image.new("RGB", (w, 40), (w, 9, 90))) for w in (40, 80, 40)]
    expected = embeddings(copy, batch_size=1).embed(items)
    found = embeddings(copy, batch_size=1, engine="openvino").embed(items)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_default_without_a_network_says_what_to_get_and_where_to_put_it(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(saeviz.DataError) as caught:
        _ = Dinov2Embeddings(Dinov2Options(), OFFLINE).dim
    for part in ("embeddings.model", "facebook/dinov2-base", "offline"):
        assert part in str(caught.value)
    assert "config.json, preprocessor_config.json, model.safetensors" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named_with_all_that_is_needed(copy, name):
    (copy / name).unlink()
    with pytest.raises(saeviz.DataError, match=rf"has no {name} .*config\.json, preprocessor_config\.json, model"):
        embeddings(copy).embed(pictures(1))


def test_a_pickle_is_never_opened(copy):
    import pickle

    class Bomb:
        def __reduce__(self):
            return Path.touch, (copy / "exploded",)

    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (copy / "model.safetensors").unlink()
    with pytest.raises(saeviz.DataError, match=r"has no model\.safetensors"):
        embeddings(copy).embed(pictures(1))
    (copy / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(saeviz.DataError, match="cannot be loaded"):
        embeddings(copy).embed(pictures(1))
    assert not (copy / "exploded").exists()


def test_code_in_the_folder_is_not_run(copy):
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "dinov2_mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}}
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (copy / "mine.py").write_text(f"open({str(copy / 'exploded')!r}, 'w')", encoding="utf-8")
    with pytest.raises(saeviz.SaevizError, match=r"embeddings\.model"):
        embeddings(copy).embed(pictures(1))
    assert not (copy / "exploded").exists()


def test_another_kind_of_model_is_refused(tmp_path):
    from transformers import ViTConfig

    ViTConfig(hidden_size=16).save_pretrained(tmp_path)
    with pytest.raises(saeviz.ConfigError, match=r"embeddings\.model: .* is a 'vit' model, not DINOv2.*'timm'"):
        _ = embeddings(tmp_path).dim


def test_weights_with_a_hole_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(saeviz.DataError, match=r"model\.safetensors has no weights for layernorm\.weight"):
        embeddings(copy).embed(pictures(1))


def test_weights_of_another_size_are_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_size": 32}), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"embeddings\.model: .*copy cannot be loaded .*matching files"):
        embeddings(copy).embed(pictures(1))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_type": 7}'])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_config_that_is_none(copy, name, text):
    (copy / name).write_text(text, encoding="utf-8")
    with pytest.raises(saeviz.SaevizError, match=r"embeddings\.model: "):
        embeddings(copy).embed(pictures(1))


def test_a_file_in_place_of_the_folder(model):
    with pytest.raises(saeviz.DataError, match=r"model\.safetensors is a file; give a folder"):
        _ = embeddings(model / "model.safetensors").dim


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"model": ""}, {"modle": "x"}])
def test_wrong_options(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        Dinov2Options(**options)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_real_weights_through_the_documented_calls():
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder = SHARED / "models" / "vit-s14"
    items = [saeviz.ImageItem(path.stem, path) for path in sorted((SHARED / "oasis" / "images").glob("*.jpg"))[:3]]
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    with torch.inference_mode():
        output = model(**processor([item.open() for item in items], return_tensors="pt"))
    rows = embeddings(folder, batch_size=2).embed(items)
    assert rows.shape == (3, 384)
    np.testing.assert_allclose(rows, output.last_hidden_state[:, 0].numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [{"size": 32}, {"size": {"height": 32, "width": 32}}, {"crop_size": 28}, {"image_mean": 0.5, "image_std": 0.25}],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_valid_folder_gives_what_transformers_itself_gives_in_float64(copy, settings, dtype):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoImageProcessor, AutoModel

    weights = load_file(copy / "model.safetensors")
    narrow = {name: values.to(getattr(torch, dtype)) for name, values in weights.items()}
    save_file(narrow, copy / "model.safetensors", metadata={"format": "pt"})
    (copy / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **settings}), encoding="utf-8")
    items = pictures(3)
    reference = AutoModel.from_pretrained(copy, dtype=torch.float64).eval()
    pixels = AutoImageProcessor.from_pretrained(copy)([item.open() for item in items], return_tensors="pt")
    with torch.inference_mode():
        expected = reference(pixel_values=pixels["pixel_values"].double()).pooler_output.numpy()
    np.testing.assert_allclose(embeddings(copy).embed(items), expected, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"shortest_edge": 0}},
        {"size": {"shortest_edge": -3}},
        {"crop_size": 8},
        {"image_mean": [0.5, 0.5]},
        {"image_mean": None},
        {"image_std": [0, 0, 0]},
        {"rescale_factor": float("nan")},
        {"image_processor_type": "DetrImageProcessor"},
        {"image_processor_type": "MineProcessor"},
    ],
    ids=str,
)
def test_settings_by_which_no_picture_can_be_embedded_are_a_sentence(copy, settings):
    (copy / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **settings}), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"^embeddings\.model: "):
        embeddings(copy).embed(pictures(1))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_no_numbers_are_refused_before_any_picture_is_blamed(copy, value):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["encoder.layer.0.mlp.fc1.weight"][0, 0] = float(value)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(saeviz.DataError, match=r"^embeddings\.model: the model gives NaN or infinity"):
        embeddings(copy).embed(pictures(1))


@pytest.mark.parametrize("wrong", [{"hidden_size": "16"}, {"hidden_size": 0}, {"num_attention_heads": 3}], ids=str)
def test_a_config_of_wrong_values_is_a_sentence(copy, wrong):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | wrong), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"^embeddings\.model: .*copy cannot be loaded"):
        embeddings(copy).embed(pictures(1))


def test_the_snapshot_of_a_hub_cache_is_a_folder_like_any_other(model, tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0a1b"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs", str(number)))
    assert np.array_equal(embeddings(snapshot).embed(pictures(2)), embeddings(model).embed(pictures(2)))
