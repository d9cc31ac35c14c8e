"""The forward pass of a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Literal

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from saeviz.typing import CSR, FloatArray

Formula = Literal["published", "document"]
CHUNK_VALUES = 2**24
"""Values held at once: 64 MiB."""


class SAE:
    """The forward pass that ViT-Prisma's StandardSparseAutoencoder shares with the other formats, in float32.

    `f = act((norm(x) - b_dec) @ W_enc + b_enc)` and `x_hat = denorm(f @ W_dec + b_dec)`, where act is ReLU
    (of the k largest values only for top-k SAEs, of values above the threshold for JumpReLU SAEs). The subtraction of
    b_dec is omitted for SAEs that were trained without it, and for all with the formula `document`. `W_dec` has the
    decoder directions of the features, `[d_sae, d_in]`.
    Raises `DataError` if weights and config do not fit.
    """

    def __init__(self, config: SAEConfig, weights: SAEWeights, *, formula: Formula, device: torch.device) -> None:
        _check_weights(config, weights)
        self.config = config
        self._encoder = weights.W_enc.float().T.contiguous().to(device)
        self.W_dec, self._b_dec = weights.W_dec.float(), weights.b_dec.float()
        self._bias = weights.b_enc.float().to(device)
        # Folding b_dec into the bias would increase rounding fivefold if activations have massive dimensions.
        subtracts = config.subtracts_b_dec and formula == "published"
        self._taken_off = self._b_dec.to(device) if subtracts else 0.0
        if weights.centre is not None:
            self._taken_off = self._taken_off + weights.centre.float().to(device)
        self._threshold = None if weights.threshold is None else weights.threshold.float().to(device)

    @property
    def jumps(self) -> bool:
        """Whether a rounding error of the input can take a feature from 0 to a large value (top-k, JumpReLU)."""
        return self.config.k is not None or self._threshold is not None

    def encode(self, x: Tensor) -> Tensor:
        """Features float32 `[..., d_sae]` of activations `[..., d_in]`; none is negative."""
        if self.config.k is None:
            return self.encode_normal(self.normalize(x), slice(None))
        return _keep_largest(self._linear(self.normalize(x), slice(None)), self.config.k)

    def normalize(self, x: Tensor) -> Tensor:
        """The normalised input of the encoder, float32 `[..., d_in]`."""
        shift, scale = self._statistics(x)
        return (x.float() - shift) / scale - self._taken_off

    def encode_normal(self, x: Tensor, columns: slice) -> Tensor:
        """Some features of normalised activations; only if features do not depend on each other (no top-k)."""
        return self._act(self._linear(x, columns), columns)

    def _linear(self, x: Tensor, columns: slice) -> Tensor:
        import torch

        return torch.nn.functional.linear(x, self._encoder[columns], self._bias[columns])

    def _act(self, features: Tensor, columns: slice) -> Tensor:
        if self._threshold is not None:
            features.masked_fill_(features <= self._threshold[columns], 0.0)
        return features.relu_()

    def encode_only(self, x: Tensor, columns: Sequence[int]) -> Tensor:
        """`encode(x)[:, columns]` at the cost of these features, where they do not depend on the others."""
        import torch

        chosen = torch.tensor(columns, dtype=torch.int64, device=self._bias.device)
        if self.config.k is not None:
            parts = torch.split(x, max(1, CHUNK_VALUES // self.config.d_sae))
            return torch.cat([self.encode(part)[:, chosen] for part in parts])
        narrow = copy(self)
        narrow._encoder, narrow._bias = self._encoder[chosen], self._bias[chosen]
        narrow._threshold = None if self._threshold is None else self._threshold[chosen]
        return narrow.encode(x)

    def decode(self, features: Tensor, x: Tensor) -> Tensor:
        """Reconstruction `[n, d_in]` of activations `x`, on the CPU; `x` is needed to undo the normalisation."""
        return self._denormalize(features.cpu() @ self.W_dec, x.cpu())

    def _denormalize(self, decoded: Tensor, x: Tensor) -> Tensor:
        shift, scale = self._statistics(x)
        if self.config.normalization == "layer_norm":
            scale = scale - LAYER_NORM_EPS
        return (decoded + self._b_dec) * scale + shift

    def unexplained(self, features: CSR, x: Tensor) -> FloatArray:
        """Fraction of variance unexplained, `[n]`, of activations `[n, d_in]` with these features.

        The squared error of the reconstruction, divided by that of `decode` of no features, which is the mean of the
        activations as the SAE has it in its `b_dec`: 0 where nothing is lost, 1 where the features say nothing more
        (the normalised error of Gao et al., arXiv 2406.04093, section 2). It does not depend on other images.
        """
        import torch

        return self.unexplained_of(torch.from_numpy(features @ self.W_dec.numpy())[:, None], x[:, None])

    def unexplained_of(self, decoded: Tensor, x: Tensor) -> FloatArray:
        """The same of several tokens of each image together: `decoded` by `decode_part` and activations `x`.

        Both are `[n, tokens, d_in]`; errors are added up over the tokens.
        """
        import torch

        decoded, x = decoded.float().cpu(), x.float().cpu()
        error, baseline = (
            ((x.double() - self._denormalize(one, x)) ** 2).sum((-1, -2))
            for one in (decoded, torch.zeros_like(decoded))
        )
        return torch.where(baseline > 0, error / baseline, torch.nan).numpy()

    def decode_part(self, features: Tensor, columns: slice) -> Tensor:
        """What some features add to the normalised reconstruction without `b_dec`, `[..., d_in]`, where they are."""
        return features @ self.W_dec[columns].to(features.device)

    def _statistics(self, x: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Mean and scale of the normalisation per token: subtracted, then divided by."""
        x = x.float()
        if self.config.normalization == "layer_norm":
            return x.mean(-1, keepdim=True), x.std(-1, keepdim=True) + LAYER_NORM_EPS
        if self.config.normalization == "constant_norm_rescale":
            return 0.0, x.norm(dim=-1, keepdim=True) / self.config.d_in**0.5
        if self.config.normalization == "unit_norm":
            return 0.0, x.norm(dim=-1, keepdim=True)
        return 0.0, 1.0


LAYER_NORM_EPS = 1e-5
"""Added to the standard deviation on the way in and not on the way out, as published."""


def _keep_largest(features: Tensor, k: int) -> Tensor:
    import torch

    largest = features.topk(k, dim=-1)
    return torch.zeros_like(features).scatter_(-1, largest.indices, largest.values.relu_())


def _check_weights(config: SAEConfig, weights: SAEWeights) -> None:
    d_in, d_sae = config.d_in, config.d_sae
    shapes = {
        "W_enc": (d_in, d_sae),
        "b_enc": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        "threshold": (d_sae,),
        "centre": (d_in,),
    }
    for name, shape in shapes.items():
        found: Tensor | None = getattr(weights, name)
        if found is None:
            continue
        if tuple(found.shape) != shape:
            raise DataError(
                f"{name} has shape {list(found.shape)}, but the config says d_in = {d_in} and d_sae = {d_sae}, "
                f"that is {list(shape)}"
            )
        if not found.is_floating_point() or not bool(found.isfinite().all()):
            raise DataError(f"{name} holds values that are not finite floating-point numbers")
