"""A vision model and its SAEs, checked against each other, loaded when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz import ConfigError, Context, DataError, FeatureSpace, ImageItem, NoHeatmapError
from saeviz.toolkit.sae import SAE, SAEConfig, SAESource
from saeviz.toolkit.torch import first_line, loading_errors
from saeviz_vit.binding import check_binding, kind_of, mismatches, untrained
from saeviz_vit.models.model import Activations, HookPoint, VisionModel, placed
from saeviz_vit.models.pixels import prepare
from saeviz_vit.options import IMAGE, SAEOptions, SAETable

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.typing import Float32Array


Site = int | str
"""An SAE by the site of its spaces, see `FeatureSpace.site`: 7, `mlp.layer7`, `embedding`."""


class ModelWithSAEs:
    """A model and its SAEs by site. Configs are read on first use of `spaces`, weights with the first image."""

    def __init__(self, options: SAEOptions, context: Context, model: VisionModel) -> None:
        self.options = options
        self.context = placed(context)
        self._model = model
        self._tables: dict[Site, SAETable] = {table.site: table for table in options.tables.values()}
        self._sources = {
            table.site: SAESource(table.layer, table.source, options.revision, context, self.context.option(option))
            for option, table in options.tables.items()
        }
        self._points = tuple(dict.fromkeys(table.point for table in self._tables.values()))
        self._saes: dict[Site, SAE] = {}
        self._tried = False

    @property
    def spaces(self) -> list[FeatureSpace]:
        """The spaces, by SAE and then as `tokens` lists them. Needs the configs, not the weights.

        Raises `DataError` if an SAE and the model do not belong together.
        """
        return [
            self._tables[site].space(tokens, config.d_sae)
            for site, config in self._configs.items()
            for tokens in self._kinds(site)
        ]

    def decoder(self, space: FeatureSpace) -> Float32Array:
        """`W_dec` of the SAE of `space`, `[n_features, d_in]`."""
        directions: Float32Array = self._sae(space.site).W_dec.numpy()
        return directions

    @cached_property
    def _configs(self) -> dict[Site, SAEConfig]:
        """The config of every SAE, checked against the model and the options."""
        for site, source in self._sources.items():
            check_binding(
                source.config,
                self._model.base,
                point=self._tables[site].point,
                tokens=self._kinds(site),
                subject=f"{source.place} ({source.source})",
                allow_mismatch=self.options.allow_mismatch,
                context=self.context,
            )
        return {site: source.config for site, source in self._sources.items()}

    @property
    def doubts(self) -> list[str]:
        """Mismatches that the user has allowed; without the folders of this machine, as reports have them, too."""
        base, place = self._model.base, self.context.place
        base = base if base.published else replace(base, label="the model")
        return [
            f"{table.title}: {mismatch.text}"
            for site, table in self._tables.items()
            for mismatch in mismatches(self._sources[site].config, base, table.point, self._kinds(site), place)
        ]

    def _kinds(self, site: Site) -> tuple[str, ...]:
        return self._tables[site].kinds(self.options.tokens)

    def _sae(self, site: Site) -> SAE:
        if site not in self._saes:
            _ = self._configs  # checked against the model before its weights are read
            self._saes[site] = self._sources[site].read(self.options.formula)
        return self._saes[site]

    def _sae_for(self, site: Site | None, tokens: str) -> tuple[SAETable, SAE]:
        """The SAE of a site, by default of the last one, to be used at `tokens`."""
        site = list(self._sources)[-1] if site is None else site
        if site not in self._sources:
            by_layer = not isinstance(self.options.saes, tuple)
            configured = self.context.option("layers") if by_layer else "the SAEs of the extractor"
            raise ConfigError(f"layer {site} is not among {configured} = {list(self._sources)}")
        table, config = self._tables[site], self._configs[site]
        if table.layer is None and tokens not in ("cls", IMAGE):
            raise NoHeatmapError(f"{table.title} is one vector for the whole image: it has no patches and no heatmap")
        if table.layer is not None and untrained(config, [tokens]) and not self.options.allow_mismatch:
            kind = "the class token" if tokens == "cls" else "patches"
            raise (DataError if tokens == "cls" else NoHeatmapError)(
                f"{self._sources[site].place} was trained on {kind_of(config)}, so it says nothing about {kind}; "
                f"set {self.context.option('allow_mismatch')} = true to use it nevertheless"
            )
        sae = self._sae(site)
        self._try_model()
        return table, sae

    def _try_model(self) -> None:
        """Load the model, and check on a grey picture that its activations are numbers and have the batch first."""
        from PIL import Image

        if self._tried:
            return
        self._model.load()
        label = self._model.base.label
        try:
            grey = self._model.transform(Image.new("RGB", (64, 64), (124, 116, 104)))
            activations = self._activations([grey], self._points)
        except loading_errors() as error:
            raise DataError(
                f"{self.context.place}: no picture can be put through {label} ({type(error).__name__}: "
                f"{first_line(error)}); its configuration, the settings of its image processor and its "
                "weights must belong together"
            ) from error
        for site, table in self._tables.items():
            if "cls" in self._kinds(site):
                activations.cls(table.point)
        if not all(states.isfinite().all() for states in activations.states.values()):
            raise DataError(
                f"{self.context.place}: {label} gives NaN or infinity for a grey picture; its weights or the settings "
                "of its image processor are damaged, so get the model again"
            )
        self._tried = True

    def _pixels(self, image: Image | ImageItem | Path | str) -> Tensor:
        return prepare(image, self._model.transform)

    def _activations(self, pixels: Sequence[Tensor], points: Sequence[HookPoint]) -> Activations:
        import torch

        with torch.inference_mode():
            return self._model.activations(torch.stack(list(pixels)), points)
