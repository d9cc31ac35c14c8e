"""A vision model and its SAEs, checked against each other, loaded when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz import ConfigError, Context, DataError, FeatureSpace, ImageItem, Tokens
from saeviz.toolkit.torch import first_line, loading_errors, torch_device
from saeviz_vit.binding import check_binding, kind_of, untrained
from saeviz_vit.models.model import Activations, VisionModel
from saeviz_vit.models.pixels import prepare
from saeviz_vit.options import SAEOptions
from saeviz_vit.saes.sae import SAE, SAEConfig
from saeviz_vit.saes.sources import SAESource

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.typing import Float32Array


class ModelWithSAEs:
    """A model and an SAE per layer. Configs are read on first use of `spaces`, weights with the first image."""

    def __init__(self, options: SAEOptions, context: Context, model: VisionModel) -> None:
        self.options = options
        self.context = context
        self._model = model
        self._sources = {
            layer: SAESource(layer, source, options.revision, context) for layer, source in options.sources.items()
        }
        self._saes: dict[int, SAE] = {}
        self._tried = False

    @property
    def spaces(self) -> list[FeatureSpace]:
        """The spaces, by layer and then as `tokens` lists them. Needs the configs, not the weights.

        Raises `DataError` if an SAE and the model do not belong together.
        """
        return [
            FeatureSpace(layer, tokens, config.d_sae)
            for layer, config in self._configs.items()
            for tokens in self.options.tokens
        ]

    def decoder(self, space: FeatureSpace) -> Float32Array:
        """`W_dec` of the SAE of `space`, `[n_features, d_in]`."""
        directions: Float32Array = self._sae(int(space.layer)).W_dec.numpy()
        return directions

    @cached_property
    def _configs(self) -> dict[int, SAEConfig]:
        """The config of every SAE, checked against the model and the options."""
        base = self._model.base
        for layer, source in self._sources.items():
            check_binding(
                source.config,
                base,
                layer=layer,
                tokens=self.options.tokens,
                source=str(source.source),
                allow_mismatch=self.options.allow_mismatch,
                context=self.context,
            )
        return {layer: source.config for layer, source in self._sources.items()}

    def _sae(self, layer: int) -> SAE:
        if layer not in self._saes:
            config, source = self._configs[layer], self._sources[layer]
            weights, device = source.read_weights(), torch_device(self.context)
            try:
                self._saes[layer] = SAE(config, weights, formula=self.options.formula, device=device)
            except DataError as error:
                raise DataError(f"extractor.saes.{layer} ({source.source}): {error}") from error
        return self._saes[layer]

    def _sae_for(self, layer: int | None, tokens: Tokens) -> tuple[int, SAE]:
        layer = max(self._sources) if layer is None else layer
        if layer not in self._sources:
            raise ConfigError(f"layer {layer} is not among extractor.layers = {list(self._sources)}")
        config = self._configs[layer]
        if untrained(config, [tokens]) and not self.options.allow_mismatch:
            kind = "the class token" if tokens == "cls" else "patches"
            raise DataError(
                f"extractor.saes.{layer} was trained on {kind_of(config)}, so it says nothing about {kind}; "
                "set extractor.allow_mismatch = true to use it nevertheless"
            )
        sae = self._sae(layer)
        self._try_model()
        return layer, sae

    def _try_model(self) -> None:
        """Load the model, and check on a grey picture that its activations are numbers and have the batch first."""
        from PIL import Image

        if self._tried:
            return
        self._model.load()
        label, layers = self._model.base.label, list(self._sources)
        try:
            activations = self._activations(
                [self._model.transform(Image.new("RGB", (64, 64), (124, 116, 104)))], layers
            )
        except loading_errors() as error:
            raise DataError(
                f"extractor: no picture can be put through {label} ({type(error).__name__}: {first_line(error)}); its "
                "configuration, the settings of its image processor and its weights must belong together"
            ) from error
        if "cls" in self.options.tokens:
            activations.cls(min(layers))
        if not all(activations.patches(layer).isfinite().all() for layer in layers):
            raise DataError(
                f"extractor: {label} gives NaN or infinity for a grey picture; its weights or the settings of its "
                "image processor are damaged, so get the model again"
            )
        self._tried = True

    def _pixels(self, image: Image | ImageItem | Path | str) -> Tensor:
        return prepare(image, self._model.transform)

    def _activations(self, pixels: Sequence[Tensor], layers: Sequence[int]) -> Activations:
        import torch

        with torch.inference_mode():
            return self._model.activations(torch.stack(list(pixels)), layers)
