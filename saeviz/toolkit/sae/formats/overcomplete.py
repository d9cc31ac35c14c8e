"""The SAEs of overcomplete (Kempner Institute): one file, the whole module as `torch.save(sae, path)` writes it.

Followed is overcomplete 0.3.0. The file is a pickle of that library's classes; here only inert stand-ins for those
listed are made of it, and nothing of it runs. It says nothing about model, layer and tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.toolkit.sae.formats.containers import load_inert
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_NAMES: tuple[str, ...] = ("sae.pth",)
WEIGHTS_NAMES: tuple[str, ...] = CONFIG_NAMES
ACTIVATIONS = {
    "SAE": "relu",
    "TopKSAE": "top-k",
    "RATopKSAE": "top-k",
    "JumpSAE": "thresholds",
    "RAJumpSAE": "thresholds",
    "BatchTopKSAE": "threshold",
}
FOREIGN = (
    *(
        f"overcomplete.sae.{name}"
        for name in (
            *("base.SAE", "topk_sae.TopKSAE", "jump_sae.JumpSAE", "batchtopk_sae.BatchTopKSAE", "qsae.QSAE"),
            *("rasae.RATopKSAE", "rasae.RAJumpSAE", "mp_sae.MpSAE", "omp_sae.OMPSAE"),
            *("modules.MLPEncoder", "modules.TieableEncoder", "dictionary.DictionaryLayer"),
            *(f"dictionary.normalize_{rule}" for rule in ("l2", "max_l2", "l1", "max_l1", "identity")),
            "archetypal_dictionary.RelaxedArchetypalDictionary",
            *(f"kernels.{name}_kernel" for name in ("rectangle", "gaussian", "triangular", "cosine")),
            *(f"kernels.{name}_kernel" for name in ("epanechnikov", "quartic", "silverman", "cauchy")),
        )
    ),
    *(
        f"torch.nn.modules.{name}"
        for name in (
            *("container.Sequential", "container.ModuleList", "linear.Linear", "linear.Identity"),
            *("activation.ReLU", "normalization.LayerNorm", "batchnorm.BatchNorm1d"),
        )
    ),
)
"""What such a file may refer to. More may be read than is supported, so that it can be said what is not."""

HEAD = 1 << 20
"""Bytes of a pickle that are looked at to tell whose it is."""


def claims(path: Path) -> bool:
    """A file that torch saved and that speaks of overcomplete."""
    try:
        with ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return any(b"overcomplete.sae" in archive.open(name).read(HEAD) for name in pickles)
    except (BadZipFile, OSError):
        return False


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names what is not supported."""
    with _explained(path):
        sae = _load(path)
        d_sae, d_in = _dictionary(sae, path).shape
        k = int(sae.top_k) if ACTIVATIONS[_kind(sae)] == "top-k" else None
        if k is not None and not 1 <= k <= d_sae:
            raise ValueError(f"top_k = {k} of {d_sae} concepts")
        return SAEConfig(d_in=d_in, d_sae=d_sae, k=k, subtracts_b_dec=False)


def read_weights(path: Path) -> SAEWeights:
    """The arrays; there is no b_dec in this format, so it is zero. Raises `DataError` for what is not supported."""
    with _explained(path):
        return _weights(_load(path), path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is not laid out like an SAE of overcomplete 0.3: {error!r}") from error


def _load(path: Path) -> Any:
    sae = load_inert(path, foreign=FOREIGN)
    if _kind(sae) not in ACTIVATIONS:
        raise DataError(f"{path} holds a {_kind(sae)}; supported are {', '.join(ACTIVATIONS)}")
    return sae


def _weights(sae: Any, path: Path) -> SAEWeights:
    import torch

    w_dec = _dictionary(sae, path)
    w_enc, b_enc = _encoder(sae, w_dec, path)
    b_enc = torch.zeros(len(w_dec)) if b_enc is None else b_enc
    return SAEWeights(w_enc, b_enc, w_dec, torch.zeros(w_dec.shape[1]), _threshold(sae, path, len(w_dec)))


def _encoder(sae: Any, w_dec: Tensor, path: Path) -> tuple[Tensor, Tensor | None]:
    encoder = _part(sae, "encoder")
    if _kind(encoder) == "TieableEncoder":
        weight = w_dec if encoder._modules.get("tied_to") else _array(encoder, "weight")
        return weight.T, _array(encoder, "bias")
    if _kind(encoder) != "MLPEncoder" or _part(encoder, "mlp_blocks")._modules:
        raise DataError(f"{path}: its encoder is a {_kind(encoder)} of several layers; only linear ones are supported")
    linear, norm = _part(encoder, "final_block")._modules.values()
    for part, wanted in ((norm, "Identity"), (_part(encoder, "final_activation"), "ReLU")):
        if _kind(part) != wanted:
            raise DataError(f"{path}: its encoder has a {_kind(part)} where only {wanted} is supported")
    return _array(linear, "weight").T, _array(linear, "bias")


def _dictionary(sae: Any, path: Path) -> Tensor:
    """As it was fused by `.eval()`, or else what that would give."""
    layer = _part(sae, "dictionary")
    if layer._fused_dictionary is not None:
        fused: Tensor = layer._fused_dictionary.detach()
        return fused
    rule = getattr(getattr(layer, "normalization", None), "__name__", "none")
    if rule not in ("normalize_l2", "normalize_identity"):
        raise DataError(
            f"{path} was saved while training, with a dictionary of its own kind; call .eval() and save again"
        )
    rows: Tensor = _array(layer, "_weights")
    if rule == "normalize_l2":
        rows = rows / (rows.norm(dim=1, keepdim=True) + 1e-8)
    return rows.mul(_array(layer, "multiplier").exp())


def _threshold(sae: Any, path: Path, d_sae: int) -> Tensor | None:
    """Just below what the library has: there a value that equals the threshold fires."""
    import torch

    kind = ACTIVATIONS[_kind(sae)]
    if kind == "thresholds":
        threshold = _array(sae, "thresholds").exp()
    elif kind == "threshold":
        if sae.running_threshold is None:
            raise DataError(f"{path}: its running threshold was never set; it has to be trained first")
        threshold = sae.running_threshold.detach().expand(d_sae)
    else:
        return None
    return torch.nextafter(threshold, torch.tensor(-torch.inf))


def _kind(module: object) -> str:
    return type(module).__name__


def _part(module: Any, name: str) -> Any:
    return module._modules[name]


def _array(module: Any, name: str) -> Any:
    """A parameter or buffer, None where the module has none of that name."""
    found = {**module._buffers, **module._parameters}.get(name)
    return None if found is None else found.detach()
