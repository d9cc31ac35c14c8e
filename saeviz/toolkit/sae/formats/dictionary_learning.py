"""The SAEs of dictionary_learning (Marks et al.): `config.json` beside `ae.pt`.

Followed is dictionary_learning 0.1.0 with its `load_dictionary`. The config says nothing about tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, PositiveInt, StrictInt

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_tensors, times_norms
from saeviz.toolkit.sae.formats.reading import checked, read_json
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    Tensors = dict[str, Tensor]

CONFIG_NAMES: tuple[str, ...] = ("config.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("ae.pt",)
LINEAR = ("encoder.weight", "encoder.bias", "decoder.weight")
PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")


class Trainer(BaseModel):
    """The keys of `trainer` that decide what the numbers mean."""

    dict_class: Literal[
        "AutoEncoder",
        "AutoEncoderNew",
        "AutoEncoderTopK",
        "BatchTopKSAE",
        "MatryoshkaBatchTopKSAE",
        "JumpReluAutoEncoder",
    ]
    activation_dim: PositiveInt
    dict_size: PositiveInt
    layer: StrictInt
    lm_name: str
    submodule_name: str | None = None
    k: PositiveInt | None = None


class DictionaryConfig(BaseModel):
    """What `config.json` holds; `buffer` is about training."""

    trainer: Trainer


def claims(path: Path) -> bool:
    """A `config.json` with a table `trainer`."""
    return path.name in CONFIG_NAMES and isinstance(read_json(path).get("trainer"), dict)


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the key if something is missing, unknown or not supported."""
    trainer = _trainer(path)
    is_top_k = trainer.dict_class == "AutoEncoderTopK"
    if is_top_k and not 1 <= (trainer.k or 0) <= trainer.dict_size:
        raise DataError(f"{path}: trainer.k must be 1 to {trainer.dict_size} for an AutoEncoderTopK")
    place = trainer.submodule_name
    return SAEConfig(
        model_name=trainer.lm_name,
        layer=trainer.layer,
        hook="hook_resid_post" if place and "resid_post" in place else place,
        d_in=trainer.activation_dim,
        d_sae=trainer.dict_size,
        k=trainer.k if is_top_k else None,
        subtracts_b_dec=trainer.dict_class not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
    )


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` unless the file holds exactly the arrays of its class."""
    trainer = _trainer(path.with_name(CONFIG_NAMES[0]))
    tensors = read_tensors(path)
    names, optional, convert = CLASSES[trainer.dict_class]
    expect_arrays(tensors, names, path, f"the state of a {trainer.dict_class}", optional)
    if trainer.k is not None and "k" in tensors and int(tensors["k"]) != trainer.k:
        raise DataError(f"{path} was saved with k = {int(tensors['k'])}, but its config says {trainer.k}")
    return convert(tensors)


def _trainer(path: Path) -> Trainer:
    return checked(DictionaryConfig, read_json(path), path).trainer


def _standard(arrays: Tensors) -> SAEWeights:
    """Decoder directions get unit length and the encoder makes up for it, as that library does on loading."""
    norms = arrays["decoder.weight"].float().norm(dim=0)
    w_enc, b_enc = times_norms(arrays["encoder.weight"].T, arrays["encoder.bias"], norms)
    return SAEWeights(w_enc, b_enc, (arrays["decoder.weight"] / norms).T, arrays["bias"])


def _new(arrays: Tensors) -> SAEWeights:
    return _linear(arrays, arrays["decoder.bias"])


def _top_k(arrays: Tensors) -> SAEWeights:
    return _linear(arrays, arrays["b_dec"])


def _batch_top_k(arrays: Tensors) -> SAEWeights:
    return _linear(arrays, arrays["b_dec"], arrays["threshold"].expand(len(arrays["encoder.bias"])))


def _linear(arrays: Tensors, b_dec: Tensor, threshold: Tensor | None = None) -> SAEWeights:
    return SAEWeights(arrays["encoder.weight"].T, arrays["encoder.bias"], arrays["decoder.weight"].T, b_dec, threshold)


def _plain(arrays: Tensors) -> SAEWeights:
    threshold = arrays["threshold"].expand(len(arrays["b_enc"]))
    return SAEWeights(**{name: arrays[name] for name in PLAIN}, threshold=threshold)


CLASSES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Tensors], SAEWeights]]] = {
    "AutoEncoder": ((*LINEAR, "bias"), (), _standard),
    "AutoEncoderNew": ((*LINEAR, "decoder.bias"), (), _new),
    "AutoEncoderTopK": ((*LINEAR, "b_dec"), ("k", "threshold"), _top_k),
    "BatchTopKSAE": ((*LINEAR, "b_dec", "threshold"), ("k",), _batch_top_k),
    "MatryoshkaBatchTopKSAE": ((*PLAIN, "threshold"), ("k", "group_sizes"), _plain),
    "JumpReluAutoEncoder": ((*PLAIN, "threshold"), (), _plain),
}
"""Per class: the arrays of its state, those that may come besides, and what makes an SAE of them."""
