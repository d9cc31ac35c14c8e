"""The scripts that train the demo's models: each runs, and writes what the loaders of the real models read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from saeviz_gallery.concepts import CONCEPTS, Dice, compose
from saeviz_gallery.training import clip, embedder, pictures, sae
from saeviz_gallery.training.captions import DISTRACTORS, MOST_WORDS, WORDS, caption

torch = pytest.importorskip("torch", reason="needs torch")
open_clip = pytest.importorskip("open_clip", reason="needs open_clip")
timm = pytest.importorskip("timm", reason="needs timm")

COUNT = 160


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return pictures.training_pictures(tmp_path_factory.mktemp("cache"), COUNT)


@pytest.fixture(scope="module")
def clip_folder(rendered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "clip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip, "CYCLES", 1)
        patch.setattr(clip, "EPOCHS", 4)
        patch.setattr(clip, "BATCH", COUNT // 5)
        clip.train_clip(pictures.read_pictures(rendered, "clip"), folder)
    return folder


def test_training_pictures_are_rendered_once_and_as_described(rendered, monkeypatch):
    monkeypatch.setattr(pictures, "_render", lambda *_: pytest.fail("rendered again"))
    assert pictures.training_pictures(rendered.parent, COUNT) == rendered
    first = pictures.read_pictures(rendered, "embedder")
    second = pictures.read_pictures(rendered, "embedder-redrawn")
    assert first.pixels.shape == (COUNT, 64, 64, 3)
    assert first.presence.shape == (COUNT, len(CONCEPTS))
    assert [c for c, here in zip(CONCEPTS, first.presence[7], strict=True) if here] == [
        *compose("training", 7).concepts
    ]
    assert all((one != two).any() for one, two in zip(first.pixels, second.pixels, strict=True))


def test_captions_name_concepts_of_the_picture_and_nothing_else():
    dice = Dice("test")
    for index in range(300):
        concepts = compose("captions", index).concepts
        text, named = caption(concepts, dice)
        assert set(named) <= set(concepts)
        assert 1 <= len(named) <= MOST_WORDS
        assert all(any(word in text for word in (concept, *WORDS[concept])) for concept in named)


def test_distractors_are_no_word_for_a_concept():
    assert set(DISTRACTORS).isdisjoint({word for words in WORDS.values() for text in words for word in text.split()})


def test_clip_learns_and_loads_as_an_open_clip_folder(rendered, clip_folder):
    """After a few steps pictures are closer to the names of what is in them than to other names."""
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    found = pictures.read_pictures(rendered, "clip")
    with torch.inference_mode():
        images = model.encode_image(clip.normalised(found.pixels), normalize=True)
        words = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(list(CONCEPTS))
        similar = (images @ model.encode_text(words, normalize=True).T).numpy()
    assert similar[found.presence].mean() > similar[~found.presence].mean()


def test_saes_learn_and_are_written_in_the_prisma_format(rendered, clip_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sae, "STEPS", 150)
    monkeypatch.setattr(sae, "BATCH", 128)
    found = pictures.read_pictures(rendered, "clip")
    sae.train_saes(found, clip_folder, {2: tmp_path / "sae"})
    config = json.loads((tmp_path / "sae" / "config.json").read_text())
    weights = torch.load(tmp_path / "sae" / "weights.pt", weights_only=True)
    assert (config["hook_point_layer"], config["d_in"], config["d_sae"]) == (2, 128, 1024)
    cls, _ = sae.collect_tokens(found, clip_folder, [2])[2]
    features = sae.encode(weights, cls)
    assert ((features > 0).sum(dim=1) <= config["activation_fn_kwargs"]["k"]).all()
    error = cls - features @ weights["W_dec"] - weights["b_dec"]
    assert error.square().sum() < 0.5 * (cls - cls.mean(dim=0)).square().sum()


def test_tokens_are_those_of_the_block(rendered, clip_folder):
    found = pictures.read_pictures(rendered, "clip")
    cls, patches = sae.collect_tokens(found, clip_folder, [0, 4])[4]
    assert patches.shape == (COUNT * sae.PATCHES_PER_PICTURE, cls.shape[1])
    model = open_clip.create_model(f"local-dir:{clip_folder}").eval()
    with torch.inference_mode():
        expected = model.encode_image(clip.normalised(found.pixels))
        assert torch.allclose(model.visual.ln_post(cls) @ model.visual.proj, expected, atol=1e-4)


def test_the_embedder_learns_and_loads_as_a_timm_folder(rendered, tmp_path, monkeypatch):
    """Two drawings of one composition come closer than two pictures at large."""
    monkeypatch.setattr(embedder, "BATCH", 16)
    monkeypatch.setattr(embedder, "EPOCHS", 2)
    first, second = (pictures.read_pictures(rendered, name) for name in ("embedder", "embedder-redrawn"))
    embedder.train_embedder(first, second, tmp_path / "embedder")
    model = timm.create_model(f"local-dir:{tmp_path / 'embedder'}", pretrained=True, num_classes=0).eval()
    assert tuple(timm.data.resolve_data_config({}, model=model)["input_size"]) == (3, 64, 64)
    with torch.inference_mode():
        one, two = (
            torch.nn.functional.normalize(
                model(torch.from_numpy(np.array(p.pixels)).permute(0, 3, 1, 2) / 127.5 - 1), dim=1
            )
            for p in (first, second)
        )
    cosines = (one @ two.T).numpy()
    assert np.diag(cosines).mean() > cosines.mean() + cosines.std()
