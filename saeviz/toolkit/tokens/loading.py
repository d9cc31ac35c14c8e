"""A vision model and its SAEs, checked against each other, loaded when they are first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.contract.context import Context
from saeviz.contract.saes import SAEConfig
from saeviz.toolkit.sae.forward import SAE
from saeviz.toolkit.sae.options import IMAGE, HookPoint, SAEOptions, SAETable
from saeviz.toolkit.sae.sources import SAESource
from saeviz.toolkit.tokens.binding import check_binding, kind_of, mismatches, untrained
from saeviz.toolkit.tokens.model import Activations, TokenModel, placed
from saeviz.toolkit.tokens.pixels import prepare
from saeviz.toolkit.tokens.shapes import checked_grids
from saeviz.toolkit.torch import first_line, loading_errors, torch_device, torch_dtype
from saeviz.values.errors import ConfigError, DataError, NoHeatmapError
from saeviz.values.features import FeatureSpace, Layer
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.typing import Float32Array


Site = Layer
"""An SAE by the site of its spaces, see `FeatureSpace.site`: 7, `mlp.layer7`, `embedding`."""


class ModelWithSAEs(TokenModel):
    """A model and its SAEs by site. Configs are read on first use of `spaces`, weights with the first image."""

    def __init__(self, options: SAEOptions, context: Context) -> None:
        super().__init__(options, placed(context))
        self._tables: dict[Site, SAETable] = {table.site: table for table in options.tables.values()}
        for option, table in options.tables.items():
            if table.layer is not None and table.hook not in self.hooks:
                raise ConfigError(
                    f"{self.context.option(option)}: hook {table.hook!r} cannot be read in this model; "
                    f"there is {', '.join(self.hooks)}"
                )
        self._sources = {
            table.site: SAESource(table.layer, table.source, options.revision, context, self.context.option(option))
            for option, table in options.tables.items()
        }
        self._points = tuple(dict.fromkeys(table.point for table in self._tables.values()))
        self._saes: dict[Site, SAE] = {}
        self._grids: dict[tuple[int, int], dict[HookPoint, tuple[int, int]]] = {}
        """For pixels of a height and width the rows and columns of patches."""
        self._tried: tuple[int, int] | None = None
        """Height and width of the pixels that the model was tried with."""

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

    def patch(self, point: HookPoint) -> tuple[int, int]:
        """Height and width of a patch in pixels, by default those of the model's input divided by its patches."""
        size = self._try_model()
        rows, columns = self._grids[size].get(point, (0, 0))
        if not rows or not columns:
            raise NoHeatmapError(f"{self.info.label} has no patches at {point.hook}, so there is no heatmap")
        return size[0] // rows, size[1] // columns

    @cached_property
    def _configs(self) -> dict[Site, SAEConfig]:
        """The config of every SAE, checked against the model and the options."""
        for site, source in self._sources.items():
            check_binding(
                source.config,
                self.info,
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
        info, place = self.info, self.context.place
        info = info if info.published else replace(info, label="the model")
        return [
            f"{table.title}: {mismatch.text}"
            for site, table in self._tables.items()
            for mismatch in mismatches(self._sources[site].config, info, table.point, self._kinds(site), place)
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
            by_layer = "layers" in type(self.options).model_fields and not isinstance(self.options.saes, tuple)
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

    def _try_model(self) -> tuple[int, int]:
        """Load the model, and check on a grey picture that its activations are numbers and have the right shapes.

        The height and width of what its transform gives of that picture.
        """
        from PIL import Image

        if self._tried is not None:
            return self._tried
        _ = self.loaded
        label = self.info.label
        try:
            grey = self.transform(Image.new("RGB", (64, 64), (124, 116, 104)))
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
            d_in, width = self._configs[site].d_in, activations.states[table.point].shape[-1]
            if d_in != width:
                raise DataError(
                    f"{self._sources[site].place}: the SAE has d_in = {d_in}, but {label} gives tokens of length "
                    f"{width}"
                )
        if not all(states.isfinite().all() for states in activations.states.values()):
            raise DataError(
                f"{self.context.place}: {label} gives NaN or infinity for a grey picture; its weights or the settings "
                "of its image processor are damaged, so get the model again"
            )
        self._tried = (grey.shape[-2], grey.shape[-1])
        return self._tried

    def _pixels(self, image: Image | ImageItem | Path | str) -> Tensor:
        return prepare(image, self.transform)

    def _activations(self, pixels: Sequence[Tensor], points: Sequence[HookPoint]) -> Activations:
        """What the model gives at some hook points, by torch."""
        import torch

        batch = torch.stack(list(pixels))
        with torch.inference_mode():
            moved = batch.to(torch_device(self.context), torch_dtype(self.context, self.options.precision))
            states = self._states(self.loaded[1], moved, points=points)
        return self._as_activations(batch, dict(zip(points, states, strict=True)))

    def _states(
        self, model: Any, pixels: Tensor, *, points: Sequence[HookPoint], cls_only: bool = False
    ) -> list[Tensor]:
        """Per hook point `[n, tokens, width]`, with `cls_only` `[n, 1, width]`; an engine may compile this."""
        if cls_only:
            return [tokens[:, None] for tokens in self.class_tokens(model, pixels, points)]
        grids = checked_grids(type(self).__name__, self.tokens(model, pixels, points), points, pixels)
        sizes = self._grids.setdefault((int(pixels.shape[-2]), int(pixels.shape[-1])), {})
        sizes.update({point: grid.size for point, grid in zip(points, grids, strict=True)})
        return [grid.joined for grid in grids]

    def _as_activations(
        self, pixels: Tensor, states: dict[HookPoint, Tensor], *, cls_only: bool = False
    ) -> Activations:
        grids = {} if cls_only else self._grids[pixels.shape[-2], pixels.shape[-1]]
        return Activations(states, grids, self.context.option("tokens"))
