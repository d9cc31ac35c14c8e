"""Several SAEs of a layer and other hook points, in one pass: against plain hooks on a model of our own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import saeviz
from saeviz import ConfigError, DataError, NoHeatmapError
from saeviz.cache.contents import Contents
from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.discovery.manager import Manager
from saeviz.toolkit.tokens import HookPoint
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor
from tests.plugins.vit.runs import collect, context

PLACES = {"mlp": "mlp_out", "attn": "attn_out", "": "resid_post", "other": "resid_post"}
LAYERS = {"mlp": 2, "attn": 1, "": 2, "other": 2}


@pytest.fixture(scope="module")
def tables(make, tmp_path_factory):
    """Four SAEs at three hook points, two of them at the output of the last block."""
    root, found = tmp_path_factory.mktemp("saes"), []
    for seed, (name, hook) in enumerate(PLACES.items()):
        place = {"hook_point_layer": LAYERS[name], "layer_subtype": f"hook_{hook}"}
        folder = make.sae(root / f"sae-{seed}", make.weights(seed), **place)
        found.append({"name": name, "layer": LAYERS[name], "hook": hook, "source": str(folder)})
    return found


@pytest.fixture(params=["clip", "vit"])
def build(request, tables):
    folder = request.getfixturevalue(f"{request.param}_folder")

    def build(saes=tables, **options):
        options = {"saes": saes, "engine": "torch", **options}
        if request.param == "clip":
            return ClipExtractor(ClipOptions(clip_checkpoint=folder, **options), context())
        return VitExtractor(VitOptions(model=folder, **options), context())

    build.folder, build.kind = folder, request.param
    return build


def clip_model(folder):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval(), transform


def clip_parts(folder: Path, images):
    """What each block, its MLP and its attention give, and the embedding."""
    model, transform = clip_model(folder)
    blocks = model.visual.transformer.resblocks
    seen = listen(blocks, [block.mlp for block in blocks], [block.attn for block in blocks])
    with torch.no_grad():
        embedding = model.encode_image(torch.stack([transform(item.open()) for item in images]))
    return seen, embedding


def vit_parts(folder: Path, images):
    from transformers import AutoImageProcessor, AutoModel

    pixels = AutoImageProcessor.from_pretrained(folder)([item.open().convert("RGB") for item in images])
    model = AutoModel.from_pretrained(folder).eval()
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    seen = listen(blocks, [block.mlp for block in blocks], [block.attention for block in blocks])
    with torch.no_grad():
        model(pixel_values=torch.stack([torch.as_tensor(picture) for picture in pixels["pixel_values"]]))
    return seen, None


def listen(blocks, mlps, attentions):
    seen = {}
    for hook, modules in (("resid_post", blocks), ("mlp_out", mlps), ("attn_out", attentions)):
        for layer, module in enumerate(modules):

            def keep(_module, _inputs, output, key=(layer, hook)):
                seen[key] = (output[0] if isinstance(output, tuple) else output).numpy()

            module.register_forward_hook(keep)
    return seen


def parts(build, images):
    return {"clip": clip_parts, "vit": vit_parts}[build.kind](build.folder, images)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("tokens", [["cls"], ["cls", "patch-mean"]])
def test_every_space_equals_the_reference(build, images, make, tokens, engine):
    extractor = build(tokens=tokens, engine=engine)
    found = collect(extractor.extract(images))
    seen, _ = parts(build, images)
    names = [f"{name}.layer{LAYERS[name]}".lstrip(".") for name in PLACES]
    assert list(found) == [str(space) for space in extractor.spaces] == [f"{n}.{t}" for n in names for t in tokens]
    for seed, (name, hook) in enumerate(PLACES.items()):
        states = seen[LAYERS[name], hook]
        features, _ = make.encode(states.reshape(-1, states.shape[-1]), make.weights(seed))
        features = features.reshape(*states.shape[:2], -1)
        expected = {"cls": features[:, 0], "patch-mean": features[:, 1:].mean(1)}
        for kind in tokens:
            ids, rows = found[f"{names[seed]}.{kind}"]
            assert ids == [item.item_id for item in images]
            np.testing.assert_allclose(rows, expected[kind], atol=2e-4)


def test_what_is_added_makes_up_the_residual_stream(build, images):
    """Read alone and together, of a middle block and of the last, whole and for the class token only."""
    extractor = build()
    _, model = extractor.loaded
    pixels = torch.stack([extractor.transform(item.open().convert("RGB")) for item in images[:2]])
    points = [HookPoint(1), HookPoint(2, "attn_out"), HookPoint(2, "mlp_out"), HookPoint(2)]

    def patches(model, pixels, points):
        return [grid.patches for grid in extractor.tokens(model, pixels, points)]

    for read in (patches, extractor.class_tokens):
        with torch.inference_mode():
            before, attention, mlp, after = read(model, pixels, points)
            torch.testing.assert_close(read(model, pixels, points[2:3])[0], mlp, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(before + attention + mlp, after, atol=1e-5, rtol=1e-4)


def test_heatmaps_and_the_rest_go_by_site(build, images, make):
    extractor = build(tokens=["cls", "patch-max"])
    seen, _ = parts(build, images[:1])
    spaces = {str(space): space for space in extractor.spaces}
    space = spaces["mlp.layer2.patch-max"]
    assert space.site == "mlp.layer2"
    features, estimate = make.encode(seen[2, "mlp_out"][0], make.weights(0))

    maps = extractor.heatmaps(images[:1], space.site, [3, 7])
    np.testing.assert_allclose(maps[0].reshape(2, -1).T, features[1:, [3, 7]], atol=2e-4)
    spatial = extractor.extract_spatial(images[0], space.site)
    assert spatial.layer == space.site
    np.testing.assert_allclose(spatial.features, features[1:], atol=2e-4)
    single = extractor.extract_from_image(images[0], space.site)
    assert single.space == spaces["mlp.layer2.cls"]
    np.testing.assert_allclose(single.reconstruct(), estimate[0], atol=2e-3)
    raw, other = extractor.activations_of(images[:1], [spaces["attn.layer1.cls"], space])
    np.testing.assert_allclose(raw, seen[1, "attn_out"][:, 0], atol=2e-5)
    np.testing.assert_allclose(other, seen[2, "mlp_out"][:, 1:].mean(1), atol=2e-5)
    np.testing.assert_array_equal(extractor.decoder(spaces["other.layer2.cls"]), make.weights(3)["W_dec"])
    assert extractor.extract_from_image(images[0]).space == spaces["other.layer2.cls"], "the last one"
    with pytest.raises(ConfigError, match=r"mlp\.layer1 is not among the SAEs of the extractor = \['mlp\.layer2', "):
        extractor.extract_spatial(images[0], "mlp.layer1")


def test_the_health_check_and_the_manifest_name_the_sites(build, images):
    extractor = build()
    assert [health.subject.partition(" (")[0] for health in extractor.health(images[:4])] == [
        "mlp.layer2",
        "attn.layer1",
        "layer 2",
        "other.layer2",
    ]
    assert set(extractor.provenance["saes"]) == {"mlp.layer2", "attn.layer1", "2", "other.layer2"}


def test_tokens_of_one_sae(make, tables, build, tmp_path):
    """One of class tokens beside one of patches."""
    cls = make.sae(tmp_path / "cls", hook_point_layer=1, cls_token_only=True)
    patches = make.sae(tmp_path / "patches", hook_point_layer=1, use_patches_only=True)
    saes = [
        {"layer": 1, "source": str(cls)},
        {"layer": 1, "source": str(patches), "name": "spatial", "tokens": ["patch-max"]},
    ]
    assert [str(space) for space in build(saes).spaces] == ["layer1.cls", "spatial.layer1.patch-max"]
    with pytest.raises(DataError, match=r"extractor\.saes\.1 .* trained on patch tokens only, but tokens requests cls"):
        _ = build([saes[0], saes[1] | {"tokens": ["cls"]}]).spaces


# -- the embedding -------------------------------------------------------------------------------------------------


@pytest.fixture
def embedding_sae(make, tmp_path):
    return make.sae(tmp_path / "e", make.weights(9, d_in=32), d_in=32, layer_subtype="embedding", cls_token_only=True)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_an_sae_of_the_embedding(clip_folder, tables, make, images, embedding_sae, engine):
    saes = [{"hook": "embedding", "source": str(embedding_sae)}, tables[1]]
    options = ClipOptions(clip_checkpoint=clip_folder, saes=saes, tokens=["patch-max"], engine=engine)
    extractor = ClipExtractor(options, context())
    found = collect(extractor.extract(images))
    _, embedding = clip_parts(clip_folder, images)
    features, estimate = make.encode(embedding, make.weights(9, d_in=32))

    assert list(found) == ["embedding.image", "attn.layer1.patch-max"]
    np.testing.assert_allclose(found["embedding.image"][1], features, atol=2e-4)
    single = extractor.extract_from_image(images[0], "embedding")
    assert str(single.space) == "embedding.image"
    np.testing.assert_allclose(single.reconstruct(), estimate[0], atol=2e-3)
    np.testing.assert_allclose(extractor.activations(images, extractor.spaces[0]), embedding, atol=2e-5)
    with pytest.raises(NoHeatmapError, match="embedding is one vector for the whole image: it has no patches"):
        extractor.heatmaps(images[:1], "embedding", [0])
    alone = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes[:1]), context())
    np.testing.assert_allclose(collect(alone.extract(images))["embedding.image"][1], features, atol=2e-4)
    (health,) = alone.health(images)
    assert {figure.name for figure in health.figures} >= {"explained variance, image", "L0, image"}


def test_an_embedding_of_another_length(clip_folder, make, tmp_path):
    folder = make.sae(tmp_path / "e", layer_subtype="embedding")
    saes = [{"hook": "embedding", "source": str(folder)}]
    with pytest.raises(DataError, match=r"d_in = 64, but the CLIP model in the folder .* has embeddings of length 32"):
        _ = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes), context()).spaces


# -- what does not belong together ---------------------------------------------------------------------------------


def test_an_sae_of_another_hook_point(build, tables):
    saes = [tables[0] | {"hook": "attn_out"}, {key: tables[1][key] for key in ("layer", "source")}]
    with pytest.raises(DataError, match=r"extractor\.saes\.0 .* trained on hook_mlp_out, .* read at hook_attn_out"):
        _ = build(saes).spaces
    with pytest.raises(DataError, match=r"trained on hook_attn_out, .*\[\[extractor\.saes\]\] with hook = 'attn_out'"):
        _ = build(saes[1:]).spaces
    assert len(build(saes, allow_mismatch=True).spaces) == 2


def test_messages_say_which_of_several_extractors(clip_folder, tables):
    saes = [tables[0] | {"hook": "attn_out"}]
    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes), context(place="extractors.1"))
    with pytest.raises(DataError, match=r"^extractors\.1\.saes\.0 \(") as caught:
        _ = extractor.spaces
    assert "(a table [[extractors.saes]] with hook = 'mlp_out' reads it there)" in str(caught.value)
    assert str(caught.value).endswith("; set extractors.1.allow_mismatch = true to use it nevertheless")
    nowhere = ClipOptions(clip_checkpoint=clip_folder / "none", saes=saes)
    with pytest.raises(DataError, match=r"^extractors\.1\.clip_checkpoint: no file or folder"):
        _ = ClipExtractor(nowhere, context(place="extractors.1")).spaces


@pytest.mark.parametrize(
    ("saes", "says"),
    [
        (
            [{"source": "a", "layer": 1}, {"source": "b", "layer": 1}],
            "tables 0 and 1 are both layer 1; give one a name",
        ),
        ([{"source": "a"}], "hook resid_post needs a layer"),
        ([{"source": "a", "layer": 1, "hook": "embedding"}], "the embedding has no layer"),
        ([{"source": "a", "hook": "embedding", "tokens": ["cls"]}], "one embedding per image; remove tokens"),
        ([{"source": "a", "layer": 1, "name": "My SAE"}], "name"),
        ([{"source": "a", "layer": 1, "hook": "mlp"}], "'resid_post', 'mlp_out', 'attn_out' or 'embedding'"),
        ([{"layer": 1}], "source"),
    ],
)
def test_tables_that_are_refused(saes, says):
    with pytest.raises(ValidationError, match=says):
        ClipOptions(saes=saes)


def test_options_that_do_not_go_with_tables():
    saes = [{"source": "a", "layer": 1}]
    with pytest.raises(ValidationError, match="each table of saes says its layer; remove layers"):
        ClipOptions(saes=saes, layers=[1])
    with pytest.raises(ValidationError, match="hook 'embedding' is read by clip-b32-prisma only"):
        VitOptions(model="m", saes=[{"source": "a", "hook": "embedding"}])
    with pytest.raises(ValidationError, match="at least 1 item"):
        VitOptions(model="m", saes=[])


def test_a_block_whose_parts_are_scaled_elsewhere_is_refused(tmp_path, make, images):
    """BEiT multiplies what its MLP gives by a factor that is no part of the MLP."""
    from transformers import BeitConfig, BeitModel

    config = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    folder = tmp_path / "beit"
    BeitModel(BeitConfig(**config, image_size=32, patch_size=8), add_pooling_layer=False).save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    sae = make.sae(tmp_path / "sae", layer_subtype="hook_mlp_out", model_name="beit")
    saes = [{"layer": 1, "hook": "mlp_out", "source": str(sae)}]
    extractor = VitExtractor(VitOptions(model=folder, saes=saes), context())
    with pytest.raises(DataError, match="mlp_out cannot be read in a BeitLayer; resid_post can"):
        list(extractor.extract(images[:1]))


@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "clip"])
def test_layer_scale_belongs_to_what_is_added(kind, tmp_path, make, images):
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        Dinov2Config,
        Dinov2Model,
        DINOv3ViTConfig,
        DINOv3ViTModel,
    )

    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    if kind == "dinov2":
        model = Dinov2Model(Dinov2Config(**sizes, layerscale_value=0.3))
    elif kind == "dinov3":
        model = DINOv3ViTModel(DINOv3ViTConfig(**sizes, intermediate_size=128, layerscale_value=0.3))
    else:
        model = CLIPVisionModel(CLIPVisionConfig(**sizes, intermediate_size=128))
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    sae = make.sae(tmp_path / "sae", hook_point_layer=2, layer_subtype="hook_mlp_out", model_name="model")
    saes = [{"layer": 2, "hook": "mlp_out", "source": str(sae)}]
    extractor = VitExtractor(VitOptions(model=folder, saes=saes), context())
    points = [HookPoint(1), HookPoint(2, "attn_out"), HookPoint(2, "mlp_out"), HookPoint(2)]
    _, model = extractor.loaded
    pixels = torch.stack([extractor.transform(item.open().convert("RGB")) for item in images[:2]])
    with torch.inference_mode():
        before, attention, mlp, after = (grid.joined for grid in extractor.tokens(model, pixels, points))
    torch.testing.assert_close(before + attention + mlp, after, atol=1e-5, rtol=1e-4)


# -- the run file --------------------------------------------------------------------------------------------------

RUN = """
[images]
path = "pictures"
[extractor]
use = "clip-b32-prisma"
[[extractor.saes]]
layer = 7
source = "./plain"
[[extractor.saes]]
name = "mlp"
layer = 7
hook = "mlp_out"
source = "mine"
[[extractor.saes]]
hook = "embedding"
source = "owner/saes:embedding"
"""


def resolved(text, folder):
    return resolve([Layer(tomllib.loads(text), folder, "art.toml")], Manager.discover())


def test_only_sources_of_tables_are_paths(tmp_path):
    """Folders that are called like a name or a hook change nothing; those that are sources count by their content."""
    for name in ("mine", "mlp", "mlp_out", "embedding"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "weights.pt").write_bytes(b"1")
    config = resolved(RUN, tmp_path)
    tables = list(config.extractor.options.tables.values())
    assert [table.site for table in tables] == [7, "mlp.layer7", "embedding"]
    assert [str(table.source) for table in tables] == [
        str(tmp_path / "plain"),
        str(tmp_path / "mine"),
        "owner/saes:embedding",
    ]
    again = resolve([Layer(json.loads(json.dumps(config.as_json())), Path(), "run.json")], Manager.discover())
    assert again.as_json() == config.as_json()

    contents = Contents(None).of_options(config.extractor.options)
    (tmp_path / "mine" / "weights.pt").write_bytes(b"22")
    assert len(contents) == 1
    assert Contents(None).of_options(config.extractor.options) != contents


def test_a_mistake_in_a_table_is_named_with_its_place(tmp_path):
    text = RUN.replace('hook = "mlp_out"', 'hok = "mlp_out"').replace('source = "mine"', "")
    with pytest.raises(ConfigError) as caught:
        resolved(text, tmp_path)
    assert "extractor.saes.1.hok: unknown option; did you mean 'hook'?" in str(caught.value)
    assert "extractor.saes.1.source: field required" in str(caught.value)


def test_a_run_with_tables(clip_folder, tables, images, tmp_path):
    """Every stage takes the names; with the same tables nothing is computed twice."""
    (tmp_path / "pictures").mkdir()
    for number, item in enumerate(images):
        item.open().convert("RGB").save(tmp_path / "pictures" / f"{number}.png")
    ratings = "\n".join(f"{number}.png,{number % 5}" for number in range(len(images)))
    (tmp_path / "ratings.csv").write_text(f"file,pleasant\n{ratings}\n")
    text = ["[run]", 'device = "cpu"', "cache = false", "[images]", 'path = "pictures"', 'ratings = "ratings.csv"']
    text += ["[embeddings]", 'use = "none"', "[extractor]", f"clip_checkpoint = {json.dumps(str(clip_folder))}"]
    for table in tables:
        text += ["[[extractor.saes]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    text += ["[[scorers]]", 'use = "pearson-bh"', "min_active = 2"]
    (tmp_path / "art.toml").write_text("\n".join(text))

    run = saeviz.run(tmp_path / "art.toml")
    names = ["mlp.layer2.cls", "attn.layer1.cls", "layer2.cls", "other.layer2.cls"]
    assert {str(space) for space in run.spaces} == set(names)
    assert set(run.correlations["sae"]) == {"mlp", "attn", "other", ""}
    features = run.features("mlp.layer2.cls").matrix.toarray()
    assert not np.array_equal(features, run.features("layer2.cls").matrix.toarray())
    written = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "art" / "features").rglob("*") if path.is_file()
    }
    saeviz.run(tmp_path / "art.toml")
    assert written
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_saes_by_layer_are_what_they_were():
    """Their identity, on which finished runs depend, and their spaces."""
    assert ClipOptions(saes={7: "a/b"}).model_dump(mode="json") == {
        "batch_size": 32,
        "engine": "auto",
        "layers": [7, 8, 11],
        "saes": {"7": "a/b"},
        "tokens": ["cls"],
        "precision": None,
        "revision": None,
        "formula": "published",
        "allow_mismatch": False,
        "clip_checkpoint": "datacomp_xl_s13b_b90k",
        "clip_revision": "main",
    }
    assert ClipOptions(patch_errors=True).model_dump()["patch_errors"] is True
    options = VitOptions(model="m", saes={"7": "a", 11: Path("/b")})
    assert options.model_dump(mode="json")["saes"] == {"7": "a", "11": "/b"}
    assert [str(table.space("cls", 1)) for table in options.tables.values()] == ["layer7.cls", "layer11.cls"]
    assert list(options.tables) == ["saes.7", "saes.11"]
    assert isinstance(saeviz.FeatureSpace(7, "cls", 1).site, int)
