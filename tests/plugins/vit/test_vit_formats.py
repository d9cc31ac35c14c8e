"""SAEs of other libraries: each from its own layout, against its own documented forward pass in float64."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict

import numpy as np
import pytest
import torch

import saeviz
from saeviz import DataError
from saeviz.toolkit.sae import SAE, SAESource
from saeviz.toolkit.sae.formats import sae_formats
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor
from tests.plugins.vit.formulas import D_IN, D_SAE, K, check, config_of, decode, jump, load, pre, relu, top_k

# -- SAELens -------------------------------------------------------------------------------------------------------


def lens_config(**changes):
    """A `cfg.json` as SAELens 6 writes it; a change to `...` leaves the key out."""
    config = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cuda:0",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.36.2",
            "model_name": "tiny",
            "hook_name": "blocks.1.hook_resid_post",
            "hook_head_index": None,
            "seqpos_slice": [None],
        },
        "architecture": "standard",
        **changes,
    }
    return {key: value for key, value in config.items() if value is not ...}


def write_lens(folder, config, tensors):
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors")
    return folder


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("normalization", ["none", "layer_norm", "constant_norm_rescale"])
def test_saelens_standard(tmp_path, make, w, x, normalization, subtract):
    config = lens_config(apply_b_dec_to_input=subtract, normalize_activations=normalization)
    kind = None if normalization == "none" else normalization
    expected, estimate = make.encode(x, w, normalization=kind, subtract=subtract)
    check(load(write_lens(tmp_path, config, w)), x, expected, estimate)


@pytest.mark.parametrize("subtract", [True, False])
def test_saelens_jumprelu(tmp_path, w, x, subtract):
    threshold = torch.rand(D_SAE, generator=torch.Generator().manual_seed(1)) * 3
    config = lens_config(architecture="jumprelu", apply_b_dec_to_input=subtract)
    sae = load(write_lens(tmp_path, config, {**w, "threshold": threshold}))
    expected = jump(pre(x, w, subtract), threshold.double().numpy())
    check(sae, x, expected, decode(expected, w))
    assert (expected > 0).sum() < (pre(x, w, subtract) > 0).sum()
    assert sae.jumps
    assert not load(write_lens(tmp_path / "standard", lens_config(), w)).jumps


@pytest.mark.parametrize("rescale", [True, False])
def test_saelens_top_k(tmp_path, w, x, rescale):
    """With `rescale_acts_by_decoder_norm` the largest are those of pre-activation times the norm of the decoder row."""
    config = lens_config(architecture="topk", k=K, rescale_acts_by_decoder_norm=rescale)
    norms = w["W_dec"].double().norm(dim=1).numpy() if rescale else np.ones(D_SAE)
    expected = top_k(pre(x, w, True) * norms)
    check(load(write_lens(tmp_path, config, w)), x, expected, decode(expected / norms, w))


def test_saelens_before_version_6(tmp_path, w, x):
    old = {
        "model_name": "tiny",
        "hook_point": "blocks.1.hook_resid_post",
        "hook_point_layer": 1,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "architecture": "standard",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "apply_b_dec_to_input": True,
        "normalize_activations": None,
    }
    folder = write_lens(tmp_path, old, {**w, "scaling_factor": torch.ones(D_SAE)})
    expected = top_k(pre(x, w, True))
    check(load(folder), x, expected, decode(expected, w))
    assert config_of(folder).layer == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": "gated"}, "architecture.*'standard', 'topk' or 'jumprelu'.*found 'gated'"),
        ({"architecture": ...}, "the key 'architecture' is missing"),
        ({"apply_b_dec_to_input": ...}, "the key 'apply_b_dec_to_input' is missing"),
        ({"normalize_activations": ...}, "the key 'normalize_activations' is missing"),
        (
            {"normalize_activations": "expected_average_only_in"},
            "normalize_activations.*found 'expected_average_only_in'",
        ),
        ({"reshape_activations": "hook_z"}, "reshape_activations"),
        ({"architecture": "topk"}, "k must be 1 to 256"),
        ({"architecture": "topk", "k": 257}, "k must be 1 to 256"),
        ({"metadata": {}}, r"the key 'metadata.model_name' is missing.*'metadata.hook_name'"),
    ],
)
def test_saelens_that_is_not_understood(tmp_path, w, changes, says):
    with pytest.raises(DataError, match=says):
        config_of(write_lens(tmp_path, lens_config(**changes), w))


def test_saelens_arrays_of_another_architecture(tmp_path, w):
    with pytest.raises(
        DataError, match=r"not an SAE of the architecture jumprelu: it holds .* where .*threshold belong"
    ):
        load(write_lens(tmp_path, lens_config(architecture="jumprelu"), w))
    with pytest.raises(DataError, match="scaling_factor that is not folded in"):
        load(write_lens(tmp_path, lens_config(), {**w, "scaling_factor": torch.full((D_SAE,), 2.0)}))
    (tmp_path / "sae_weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("positions", "trained_on"), [([None], "all"), ([0, 1], "cls"), ([1], "cls"), ([1, None], "patches"), (None, None)]
)
def test_saelens_says_by_positions_which_tokens_it_has_seen(tmp_path, w, positions, trained_on):
    metadata = {"model_name": "tiny", "hook_name": "blocks.1.hook_resid_post", "seqpos_slice": positions}
    assert config_of(write_lens(tmp_path, lens_config(metadata=metadata), w)).trained_on == trained_on


def test_saelens_hook_of_another_kind(tmp_path, w):
    metadata = {"model_name": "tiny", "hook_name": "encoder.layer.1"}
    config = config_of(write_lens(tmp_path, lens_config(metadata=metadata), w))
    assert (config.layer, config.hook) == (None, "encoder.layer.1")


# -- saev ----------------------------------------------------------------------------------------------------------


def write_saev(path, header, tensors):
    with path.open("wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(OrderedDict(tensors), file)
    return path.parent


def schema(number, activation, **params):
    sizes = {"d_model": D_IN, "d_sae": D_SAE} if number >= 3 else {"d_vit": D_IN, "exp_factor": D_SAE // D_IN}
    return {
        "schema": number,
        "cfg": {**sizes, "activation": {"cls": activation, "params": params}},
        "commit": "unknown",
        "lib": "x",
    }


def test_saev_without_a_schema_subtracts_b_dec(tmp_path, w, x):
    header = {"d_vit": D_IN, "exp_factor": D_SAE // D_IN, "sparsity_coeff": 4e-4, "ghost_grads": False, "seed": 0}
    expected = relu(pre(x, w, True))
    check(load(write_saev(tmp_path / "sae.pt", header, w)), x, expected, decode(expected, w))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_saev_relu_does_not_subtract_b_dec(tmp_path, w, x, number):
    expected = relu(pre(x, w, False))
    check(load(write_saev(tmp_path / "sae.pt", schema(number, "Relu"), w)), x, expected, decode(expected, w))


@pytest.mark.parametrize(("number", "name"), [(2, "TopK"), (5, "TopK"), (2, "BatchTopK")])
def test_saev_top_k(tmp_path, w, x, number, name):
    expected = top_k(pre(x, w, False))
    check(load(write_saev(tmp_path / "sae.pt", schema(number, name, top_k=K), w)), x, expected, decode(expected, w))


def test_saev_first_files_of_schema_1(tmp_path, w, x):
    header = {"schema": 1, "cls": "TopK", "cfg": {"d_vit": D_IN, "exp_factor": D_SAE // D_IN, "top_k": K}}
    expected = top_k(pre(x, w, False))
    check(load(write_saev(tmp_path / "sae.pt", header, w)), x, expected, decode(expected, w))


@pytest.mark.parametrize("threshold", [1.5, -1.0])
def test_saev_batch_top_k_uses_its_threshold(tmp_path, w, x, threshold):
    header = schema(5, "BatchTopK", top_k=K, momentum=0.1)
    tensors = {**w, "activation.threshold": torch.tensor(threshold)}
    expected = jump(pre(x, w, False), max(threshold, 0))
    check(load(write_saev(tmp_path / "sae.pt", header, tensors)), x, expected, decode(expected, w))


def test_saev_beside_a_config_of_its_training(tmp_path, w):
    """`checkpoint/` of a saev run has a config.json that describes the training."""
    (tmp_path / "config.json").write_text(json.dumps({"train_data": {}, "lr": 4e-4, "sae": {"d_sae": D_SAE}}))
    assert load(write_saev(tmp_path / "sae.pt", schema(5, "Relu"), w)).config.d_sae == D_SAE


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (schema(6, "Relu"), "schema: .*less than or equal to 5"),
        (schema(5, "Gelu"), "activation.cls.*'Relu', 'TopK' or 'BatchTopK'"),
        (schema(5, "TopK"), "top_k must be 1 to 256"),
        (schema(5, "TopK", top_k=257), "top_k must be 1 to 256"),
        ({"schema": 5, "cfg": {}}, "the key 'd_model' is missing"),
        ({"schema": 5, "cfg": 3}, "SaevConfig|dictionary"),
        ({"schema": "x", "cfg": {}}, "schema: "),
        ({"seed": 0}, "the key 'd_model' is missing"),
    ],
)
def test_saev_that_is_not_understood(tmp_path, w, header, says):
    with pytest.raises(DataError, match=rf"sae\.pt: .*({says})"):
        config_of(write_saev(tmp_path / "sae.pt", header, w))


def test_saev_arrays_that_do_not_fit_the_header(tmp_path, w):
    with pytest.raises(DataError, match=r"not an SAE of saev: it holds .* where .*activation.threshold belong"):
        load(write_saev(tmp_path / "sae.pt", schema(5, "BatchTopK", top_k=K), w))
    (tmp_path / "sae.pt").write_bytes(json.dumps(schema(5, "Relu")).encode() + b"\nnot torch")
    with pytest.raises(DataError, match=r"sae\.pt is not a file of weights"):
        load(tmp_path)
    (tmp_path / "sae.pt").write_bytes(b'{"' + b"x" * 100_000)
    with pytest.raises(DataError, match=r"sae\.pt cannot be read as JSON"):
        load(tmp_path)


# -- dictionary_learning -------------------------------------------------------------------------------------------


def linear(w, bias, **more):
    """State of modules with `nn.Linear`: weights transposed."""
    state = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T}
    return {**state, bias: w["b_dec"], **more}


def plain(w, threshold, **more):
    return {**w, "threshold": threshold, **more}


def write_dictionary(folder, name, state, **trainer):
    sizes = {"activation_dim": D_IN, "dict_size": D_SAE}
    place = {"layer": 1, "lm_name": "tiny", "submodule_name": "resid_post_layer_1"}
    config = {"trainer": {"dict_class": name, **sizes, **place, **trainer}, "buffer": {"ctx_len": 50}}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({name: tensor.contiguous() for name, tensor in state.items()}, folder / "ae.pt")
    return folder


def test_dictionary_learning_standard(tmp_path, w, x):
    """Loaded there, decoder directions have unit length and features are scaled by what they had."""
    norms = w["W_dec"].double().norm(dim=1).numpy()
    features = relu(pre(x, w, True))
    sae = load(write_dictionary(tmp_path, "AutoEncoder", linear(w, "bias")))
    check(sae, x, features * norms, decode(features, w))


def test_dictionary_learning_new(tmp_path, w, x):
    features = relu(pre(x, w, False))
    sae = load(write_dictionary(tmp_path, "AutoEncoderNew", linear(w, "decoder.bias")))
    check(sae, x, features, decode(features, w))


@pytest.mark.parametrize("state", [{}, {"k": torch.tensor(K), "threshold": torch.tensor(3.0)}])
def test_dictionary_learning_top_k(tmp_path, w, x, state):
    features = top_k(pre(x, w, True))
    sae = load(write_dictionary(tmp_path, "AutoEncoderTopK", linear(w, "b_dec", **state), k=K))
    check(sae, x, features, decode(features, w))


@pytest.mark.parametrize("threshold", [1.5, -1.0])
@pytest.mark.parametrize("name", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_dictionary_learning_batch_top_k(tmp_path, w, x, name, threshold):
    features = jump(pre(x, w, True), threshold)
    more = {"k": torch.tensor(K), "threshold": torch.tensor(threshold)}
    if name == "BatchTopKSAE":
        state = linear(w, "b_dec", **more)
    else:
        state = plain(w, **more, group_sizes=torch.tensor([100, 156]))
    check(load(write_dictionary(tmp_path, name, state, k=K)), x, features, decode(features, w))


def test_dictionary_learning_jumprelu(tmp_path, w, x):
    threshold = torch.rand(D_SAE, generator=torch.Generator().manual_seed(1)) * 3
    features = jump(pre(x, w, False), threshold.double().numpy())
    sae = load(write_dictionary(tmp_path, "JumpReluAutoEncoder", plain(w, threshold)))
    check(sae, x, features, decode(features, w))


@pytest.mark.parametrize(
    ("name", "trainer", "says"),
    [
        ("GatedAutoEncoder", {}, "trainer.dict_class.*found 'GatedAutoEncoder'"),
        ("AutoEncoderTopK", {}, "trainer.k must be 1 to 256"),
        ("AutoEncoder", {"layer": None}, "trainer.layer"),
        ("AutoEncoder", {"lm_name": 3}, "trainer.lm_name"),
    ],
)
def test_dictionary_learning_that_is_not_understood(tmp_path, w, name, trainer, says):
    with pytest.raises(DataError, match=rf"config\.json: .*{says}"):
        config_of(write_dictionary(tmp_path, name, linear(w, "bias"), **trainer))


def test_dictionary_learning_state_that_does_not_fit(tmp_path, w):
    with pytest.raises(DataError, match=r"not the state of a AutoEncoderNew: it holds bias, .*decoder.bias belong"):
        load(write_dictionary(tmp_path, "AutoEncoderNew", linear(w, "bias")))
    state = linear(w, "b_dec", k=torch.tensor(K + 1), threshold=torch.tensor(0.0))
    with pytest.raises(DataError, match="saved with k = 10, but its config says 9"):
        load(write_dictionary(tmp_path, "AutoEncoderTopK", state, k=K))


@pytest.mark.parametrize(
    ("place", "hook"), [("resid_post_layer_1", "hook_resid_post"), ("mlp_out_layer_1", "mlp_out_layer_1"), (None, None)]
)
def test_dictionary_learning_names_its_place(tmp_path, w, place, hook):
    config = config_of(write_dictionary(tmp_path, "AutoEncoder", linear(w, "bias"), submodule_name=place))
    assert (config.model_name, config.layer, config.hook, config.trained_on) == ("tiny", 1, hook, None)


# -- which format --------------------------------------------------------------------------------------------------


def test_a_file_is_known_by_its_content_not_its_name(tmp_path, make, w):
    (tmp_path / "b").mkdir()
    write_saev(tmp_path / "b" / "my best.ckpt", schema(5, "Relu"), w)
    assert load(tmp_path / "b" / "my best.ckpt").config.subtracts_b_dec is False
    renamed = make.sae(tmp_path / "c", file="mine.pt") / "mine.pt"
    assert load(renamed).config.model_name == "tiny"


def test_a_config_stands_for_the_weights_beside_it(tmp_path, make):
    assert load(make.sae(tmp_path) / "config.json").config.model_name == "tiny"


def test_what_no_format_claims(tmp_path, w):
    (tmp_path / "config.json").write_text('{"something": "else"}')
    torch.save(w, tmp_path / "weights.pt")
    with pytest.raises(DataError, match=r"extractor\.saes\.1: .* not an SAE of a known format \(it has config\.json\)"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"a known format \(it has weights\.pt, config\.json\)"):
        load(tmp_path / "weights.pt")
    with pytest.raises(DataError, match=r"has no config\.json or cfg\.json or sae\.pt"):
        load(make_empty(tmp_path))


def make_empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


@pytest.mark.parametrize("module", sae_formats().values())
@pytest.mark.parametrize("content", [b"", b"\x00" * 9, b"{", b"PK\x03\x04", b"version https://git-lfs"])
def test_no_format_stumbles_over_a_strange_file(tmp_path, module, content):
    for name in ("weights.pt", "sae.pt", "model.pth", "picture.jpg"):
        (tmp_path / name).write_bytes(content)
        assert module.claims(tmp_path / name) in (True, False)


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 5), (2, 3, 5)])
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_arrays_of_any_shape_end_in_a_sentence(tmp_path, w, name, shape):
    """Some formats compute with the arrays before their shapes are known, and torch stretches what has one number."""
    w = {**w, name: torch.ones(shape)}
    state = {"encoder.weight": w["W_enc"], "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"]}
    limit = {"threshold": torch.ones(())}
    for folder in (
        write_dictionary(tmp_path / "a", "BatchTopKSAE", {**state, "b_dec": w["b_dec"], **limit}),
        write_dictionary(tmp_path / "b", "MatryoshkaBatchTopKSAE", w | limit),
        write_dictionary(tmp_path / "c", "AutoEncoder", {**state, "bias": w["b_dec"]}),
        write_saev(tmp_path / "sae.pt", schema(5, "BatchTopK", top_k=K), w | {"activation.threshold": torch.ones(1)}),
        write_lens(tmp_path / "d", lens_config(architecture="topk", k=K, rescale_acts_by_decoder_norm=True), w),
    ):
        with pytest.raises(DataError, match=r"has shape|do not fit together"):
            load(folder)


@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_thresholds_of_any_shape_end_in_a_sentence(tmp_path, w, shape):
    for folder in (
        write_dictionary(tmp_path / "a", "BatchTopKSAE", linear(w, "b_dec", threshold=torch.ones(shape))),
        write_dictionary(tmp_path / "b", "JumpReluAutoEncoder", plain(w, torch.ones(shape))),
        write_saev(
            tmp_path / "sae.pt", schema(5, "BatchTopK", top_k=K), w | {"activation.threshold": torch.ones(shape)}
        ),
    ):
        with pytest.raises(DataError, match=r"has shape|do not fit together"):
            load(folder)


# -- in use --------------------------------------------------------------------------------------------------------


@pytest.fixture
def extract(vit_folder, images):
    def run(source, **options):
        extractor = VitExtractor(VitOptions(model=vit_folder, saes={1: source}, **options), CPU_CONTEXT)
        return next(iter(extractor.extract(images[:3])))

    return run


CPU = torch.device("cpu")
CPU_CONTEXT = saeviz.Context(device="cpu")


def test_what_a_file_does_not_say_is_warned_of(tmp_path, w, extract, caplog):
    with caplog.at_level(logging.WARNING, "saeviz"):
        assert extract(write_saev(tmp_path / "sae.pt", schema(5, "Relu"), w)).matrix.nnz
    assert "does not say what it was trained on (model, layer, hook point, tokens); check that it belongs to" in (
        caplog.text
    )


def test_what_it_does_say_is_checked(tmp_path, w, extract):
    metadata = {"model_name": "tiny", "hook_name": "blocks.2.hook_mlp_out", "seqpos_slice": [1, None]}
    folder = write_lens(tmp_path, lens_config(metadata=metadata), w)
    with pytest.raises(DataError, match=r"layer 2, but used for layer 1; trained on hook_mlp_out.*patch tokens"):
        extract(folder)
    assert extract(folder, allow_mismatch=True).matrix.nnz


def test_the_documents_formula_is_there_for_all(tmp_path, w, x):
    folder = write_lens(tmp_path, lens_config(), w)
    source = SAESource(1, folder, None, saeviz.Context())
    sae = SAE(source.config, source.read_weights(), formula="document", device=CPU)
    np.testing.assert_allclose(sae.encode(torch.tensor(x)), relu(pre(x, w, False)), rtol=1e-4, atol=2e-5)
