"""Sparse autoencoders as packages add them: a file format, and a list of SAEs that are known by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from saeviz.values.features import Layer

TrainedOn = Literal["all", "cls", "patches"]
Normalization = Literal["layer_norm", "constant_norm_rescale", "unit_norm"]


@dataclass(frozen=True)
class SAEConfig:
    """What an SAE was trained on and how it computes, whatever format it is stored in.

    `hook` is the hook point in block `layer`; `trained_on` the kind of tokens it was trained on; `image_size` the edge
    of its pictures in pixels, `n_tokens` the number of tokens per picture. All of these are None if the format does
    not record them. `k` is the number of features per token, None for a ReLU or JumpReLU; `subtracts_b_dec` says
    whether the decoder's bias is subtracted before the encoder.
    """

    d_in: int
    d_sae: int
    model_name: str | None = None
    layer: Layer | None = None
    hook: str | None = None
    trained_on: TrainedOn | None = None
    normalization: Normalization | None = None
    k: int | None = None
    subtracts_b_dec: bool = True
    image_size: int | None = None
    n_tokens: int | None = None


@dataclass(frozen=True)
class SAEWeights:
    """`W_enc` `[d_in, d_sae]`, `b_enc` `[d_sae]`, `W_dec` `[d_sae, d_in]`, `b_dec` `[d_in]`, of any float type.

    `threshold` `[d_sae]` makes a JumpReLU: only what is above it fires, unchanged. None is a ReLU. `centre` `[d_in]` is
    subtracted from activations before the encoder, None where nothing is.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: Tensor | None = None
    centre: Tensor | None = None


class SAEFormat(Protocol):
    """One file format of SAEs; a module can be one.

    `CONFIG_NAMES` and `WEIGHTS_NAMES` are the files to look for, best first; the same where one file holds both.
    """

    CONFIG_NAMES: tuple[str, ...]
    WEIGHTS_NAMES: tuple[str, ...]

    def claims(self, path: Path) -> bool:
        """Whether any given file is a config of this format. Reads little of it and trusts nothing."""
        ...

    def read_config(self, path: Path) -> SAEConfig:
        """What the SAE was trained on. Raises `DataError` for anything missing, unknown or not supported."""
        ...

    def read_weights(self, path: Path) -> SAEWeights:
        """The arrays, from a weights file; a separate config is in the same folder."""
        ...


@dataclass(frozen=True)
class KnownSAE:
    """A published SAE that run files may call by its short name; unknown figures are None.

    `id` is its hub repository, at `revision` if given. `extractor` is the component that it is listed for; with
    `default` that one takes it for its `layer`. It is in the file format of the name `format`, or if that is empty in
    one that is recognised from its files. `explained_variance` is a share of the variance; `l0` and `l0_cls` are the
    features that a token or the class token fires on average. `centre_crop` says that it was trained on the centre of
    pictures, whatever the model's own image processor does.
    """

    name: str
    id: str
    extractor: str
    layer: Layer
    tokens: TrainedOn
    architecture: str
    explained_variance: float | None = None
    l0: float | None = None
    l0_cls: float | None = None
    revision: str | None = None
    default: bool = False
    centre_crop: bool = False
    hook: str = "resid_post"
    format: str = ""
