"""SAE, model and options must belong together; what does not is refused before the first image."""

from __future__ import annotations

import json
import logging
import re
import shutil

import pytest

import saeviz
from saeviz import ConfigError, DataError, ImageItem
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor

DATACOMP = "open-clip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"


@pytest.fixture
def vit(vit_folder, make, tmp_path):
    def build(layer=1, options=None, **config):
        folder = make.sae(tmp_path / "sae", **{"context_size": 17, **config})
        return VitExtractor(
            VitOptions(model=vit_folder, saes={layer: folder}, **(options or {})), saeviz.Context(device="cpu")
        )

    return build


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"d_in": 384}, "has d_in = 384, but .*tiny has width 64"),
        ({"hook_point_layer": 2}, "trained on layer 2, but used for layer 1.*allow_mismatch"),
        (
            {"layer_subtype": "hook_mlp_out"},
            "trained on hook_mlp_out, but blocks are read at hook_resid_post.*allow_mismatch",
        ),
        ({"use_patches_only": True}, "trained on patch tokens only, but tokens requests cls.*allow_mismatch"),
    ],
)
def test_a_mismatch_names_both_sides(vit, config, says):
    with pytest.raises(DataError, match=rf"extractor\.saes\.1 \(.*sae\): .*{says}"):
        _ = vit(**config).spaces


def test_a_mismatch_stops_extraction_before_the_first_image(vit):
    opened = []
    item = ImageItem("a", lambda: opened.append(1))
    with pytest.raises(DataError, match="d_in"):
        list(vit(d_in=384).extract([item]))
    assert not opened


def test_all_mismatches_are_told_at_once(vit):
    with pytest.raises(DataError, match=r"d_in = 384.*layer 2.*patch tokens only") as caught:
        _ = vit(d_in=384, hook_point_layer=2, use_patches_only=True).spaces
    assert "allow_mismatch" not in str(caught.value)


def test_a_layer_that_the_model_does_not_have(vit):
    with pytest.raises(DataError, match=r"layer 3 is requested, but .*tiny has blocks 0 to 2"):
        _ = vit(layer=3, hook_point_layer=3).spaces


@pytest.mark.parametrize("tokens", ["patch-max", "patch-mean"])
def test_patches_from_an_sae_of_class_tokens(vit, tokens):
    with pytest.raises(DataError, match=f"trained on the class token only, but tokens requests {tokens}"):
        _ = vit(options={"tokens": ["cls", tokens]}, cls_token_only=True).spaces


def test_allowing_a_mismatch_turns_a_refusal_into_a_warning(vit, caplog):
    extractor = vit(options={"allow_mismatch": True, "tokens": ["patch-max"]}, cls_token_only=True, hook_point_layer=0)
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert len(extractor.spaces) == 1
    assert {"layer 0", "class token only"} <= set(re.findall("layer 0|class token only", caplog.text))
    assert extractor.provenance["doubts"] == [
        "layer 1: trained on layer 0, but used for layer 1",
        "layer 1: trained on the class token only, but tokens requests patch-max",
    ]


def test_what_is_allowed_is_recorded_without_folders_and_only_if_there_is_something_to_allow(vit, vit_folder):
    extractor = vit(options={"allow_mismatch": True}, image_size=224)
    assert extractor.provenance["doubts"] == ["layer 1: trained on images of 224 pixels, but the model is given 32"]
    assert str(vit_folder) not in str(extractor.provenance["doubts"])
    assert "doubts" not in vit(options={"allow_mismatch": True}).provenance


def test_the_old_name_insist_is_still_read_with_a_note(vit, caplog):
    with caplog.at_level(logging.WARNING, "saeviz"):
        extractor = vit(options={"insist": True}, hook_point_layer=0)
    assert extractor.options.allow_mismatch
    assert "the option insist of an extractor is now called allow_mismatch" in caplog.text


def test_a_width_mismatch_cannot_be_allowed(vit):
    with pytest.raises(DataError, match="d_in = 384"):
        _ = vit(options={"allow_mismatch": True}, d_in=384).spaces


def test_single_images_are_bound_by_the_tokens_as_well(vit, images):
    extractor = vit(options={"tokens": ["cls"]}, cls_token_only=True)
    assert extractor.extract_from_image(images[0]).features.any()
    with pytest.raises(DataError, match="trained on the class token only, so it says nothing about patches"):
        extractor.extract_spatial(images[0])


# -- which model --------------------------------------------------------------------------------------------------


def test_a_local_folder_of_another_name_is_warned_of(vit, caplog):
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert vit(model_name="facebook/dino-vitb16").spaces
    assert "was trained on 'facebook/dino-vitb16'; check that" in caplog.text


@pytest.mark.parametrize("name", ["tiny", "owner/tiny", "open-clip:owner/Tiny"])
def test_a_folder_named_like_the_model_is_that_model(vit, caplog, name):
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert vit(model_name=name).spaces
    assert not caplog.text


def test_a_weights_file_cannot_be_told_so_it_is_warned_of(clip_folder, make, tmp_path, caplog):
    folder = make.sae(tmp_path / "sae", d_in=768, model_name="laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K")
    file = clip_folder / "open_clip_pytorch_model.bin"
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert ClipExtractor(ClipOptions(clip_checkpoint=file, saes={1: folder}, layers=[1]), saeviz.Context()).spaces
    assert (
        "was trained on 'laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K'; check that ViT-B-32 with the weights in"
        in caplog.text
    )


def clip_of_hub(make, tmp_path, *, name, tag="datacomp_xl_s13b_b90k", **options):
    folder = make.sae(tmp_path / "sae", d_in=768, hook_point_layer=11, model_name=name)
    options = ClipOptions(layers=[11], saes={11: folder}, clip_checkpoint=tag, **options)
    return ClipExtractor(options, saeviz.Context(device="cpu", offline=True))


def test_the_published_saes_fit_the_default_clip(make, tmp_path, caplog):
    assert clip_of_hub(make, tmp_path, name=DATACOMP).spaces
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("openai/clip-vit-base-patch32", "datacomp_xl_s13b_b90k"),
        (DATACOMP, "laion2b_s34b_b79k"),
        (DATACOMP, "openai"),
    ],
)
def test_weights_of_another_clip_are_refused(make, tmp_path, name, tag):
    with pytest.raises(
        DataError, match=rf"trained on '{name}', but the model is open_clip's ViT-B-32 {tag}.*allow_mismatch"
    ):
        _ = clip_of_hub(make, tmp_path, name=name, tag=tag).spaces
    assert clip_of_hub(make, tmp_path, name=name, tag=tag, allow_mismatch=True).spaces


# -- which pictures -----------------------------------------------------------------------------------------------


def test_pictures_of_another_size_are_refused(vit):
    with pytest.raises(
        DataError, match=r"trained on images of 224 pixels, but .*tiny is given 32; set .*allow_mismatch"
    ):
        _ = vit(image_size=224).spaces
    assert vit(image_size=32).spaces
    assert vit(image_size=224, options={"allow_mismatch": True}).spaces


@pytest.mark.parametrize(
    ("preprocessor", "size"),
    [
        ({"size": {"height": 48, "width": 48}}, 48),
        ({"size": 48}, 48),
        ({"size": {"shortest_edge": 99}, "do_center_crop": True, "crop_size": {"height": 48, "width": 48}}, 48),
        ({"size": {"shortest_edge": 99}, "do_center_crop": True, "crop_size": 48}, 48),
        ({"size": {"shortest_edge": 48}}, None),
        ({"size": {"height": 48, "width": 64}}, None),
        ([], None),
    ],
)
def test_the_size_of_pictures_is_what_the_image_processor_gives(vit_folder, make, tmp_path, preprocessor, size):
    folder = shutil.copytree(vit_folder, tmp_path / "tiny")
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))

    def spaces(image_size):
        sae = make.sae(tmp_path / "sae", image_size=image_size)
        return VitExtractor(VitOptions(model=folder, saes={1: sae}), saeviz.Context()).spaces

    assert spaces(48)
    if size is None:
        assert spaces(224), "what is not known beforehand is not refused"
    else:
        with pytest.raises(DataError, match=r"images of 224 pixels, but .* is given 48"):
            spaces(224)


def test_clip_is_given_pictures_of_its_own_size(clip_folder, make, tmp_path):
    sae = make.sae(tmp_path, image_size=224)
    with pytest.raises(DataError, match=r"images of 224 pixels, but the CLIP model in the folder .* is given 56"):
        _ = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes={1: sae}, layers=[1]), saeviz.Context()).spaces
    other = make.sae(tmp_path / "b", d_in=768, hook_point_layer=11, image_size=336, model_name=DATACOMP)
    with pytest.raises(DataError, match=r"images of 336 pixels, but open_clip's ViT-B-32 .* is given 224"):
        _ = ClipExtractor(ClipOptions(layers=[11], saes={11: other}), saeviz.Context(offline=True)).spaces


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        ({"context_size": 17}, False),
        ({"context_size": ...}, False),
        ({"context_size": 16, "use_patches_only": True}, False),
        ({"context_size": 17, "use_patches_only": True}, False),
        ({"context_size": 50}, True),
        ({"context_size": 49, "use_patches_only": True}, True),
        ({"context_size": 1}, False),
    ],
)
def test_another_number_of_tokens_is_warned_of(vit, caplog, config, warned):
    tokens = ["patch-max"] if "use_patches_only" in config else ["cls"]
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert vit(options={"tokens": tokens}, **config).spaces
    assert ("tokens of an image, but" in caplog.text) is warned


# -- which file ---------------------------------------------------------------------------------------------------


def test_an_unknown_tag_gets_a_suggestion(make, tmp_path):
    with pytest.raises(ConfigError, match=r"clip_checkpoint = 'datacomp_xl'.*did you mean .*datacomp_xl_s13b_b90k"):
        _ = clip_of_hub(make, tmp_path, name="x", tag="datacomp_xl").spaces


@pytest.mark.parametrize("path", ["./weights.bin", "/nowhere/clip"])
def test_a_path_that_is_not_there_is_not_taken_for_a_tag(make, tmp_path, path):
    with pytest.raises(DataError, match=rf"clip_checkpoint: no file or folder {path}"):
        _ = clip_of_hub(make, tmp_path, name="x", tag=path).spaces


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "is not the config of an open_clip model"),
        (
            {"model_cfg": {"vision_cfg": {"layers": [3, 4, 6, 3], "width": 64}, "text_cfg": {}}},
            "does not describe a vision transformer",
        ),
    ],
)
def test_a_clip_folder_that_is_none(make, tmp_path, config, says):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=says):
        _ = clip_of_hub(make, tmp_path, name="x", tag=tmp_path / "clip").spaces


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot be read as JSON"), ("[]", "is not the config"), ("{}", "hidden_size or num_hidden_layers is")],
)
def test_a_vit_folder_that_is_none(vit_folder, make, tmp_path, text, says):
    folder = shutil.copytree(vit_folder, tmp_path / "vit")
    (folder / "config.json").write_text(text)
    options = VitOptions(model=folder, saes={1: make.sae(tmp_path / "sae")})
    with pytest.raises(DataError, match=rf"extractor\.model: .*{says}"):
        _ = VitExtractor(options, saeviz.Context()).spaces


def test_a_vit_without_its_image_processor(vit_folder, make, tmp_path):
    folder = shutil.copytree(vit_folder, tmp_path / "tiny")
    (folder / "preprocessor_config.json").unlink()
    options = VitOptions(model=folder, saes={1: make.sae(tmp_path / "sae")})
    with pytest.raises(DataError, match=r"extractor\.model: .*tiny has no preprocessor_config\.json"):
        list(VitExtractor(options, saeviz.Context()).extract([ImageItem("a", b"")]))


def test_an_sae_folder_without_config(vit_folder, tmp_path):
    (tmp_path / "sae").mkdir()
    options = VitOptions(model=vit_folder, saes={1: tmp_path / "sae"})
    with pytest.raises(DataError, match=r"extractor\.saes\.1: .*sae has no config\.json"):
        _ = VitExtractor(options, saeviz.Context()).spaces
