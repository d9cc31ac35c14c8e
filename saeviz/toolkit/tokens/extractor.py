"""Images to sparse features: one forward pass per batch, then every SAE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from saeviz.contract.context import Context
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.engine import EngineChoice, Runner
from saeviz.toolkit.sae.health import Examination
from saeviz.toolkit.sae.options import IMAGE, SAEOptions
from saeviz.toolkit.tokens.model import Activations
from saeviz.toolkit.tokens.pooling import VECTORS, Pooler, to_csr
from saeviz.toolkit.tokens.single import SingleImages
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.outcomes import Health

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.openvino import Forward
    from saeviz.toolkit.tokens.loading import Site
    from saeviz.typing import Float32Array


RECONSTRUCTION_ERROR = "reconstruction_error"
"""The column of `images.parquet`, before the space."""


class TokenExtractor(SingleImages):
    """An extractor of SAE features from the tokens of a vision model, which is loaded with the first image.

    A subclass defines `load` and `tokens`, see `TokenModel`. It gets `extract`, features and heatmaps of single images,
    activations, decoder directions, the health check, provenance, and the choice of an engine; its options derive from
    `SAEOptions`.
    """

    def __init__(self, options: SAEOptions, context: Context) -> None:
        super().__init__(options, context)
        self._runner: Runner | None = None
        self._poolers: dict[Site, Pooler] = {}

    @property
    def provenance(self) -> dict[str, Any]:
        """Origin of the features, JSON-able: the engine that ran the model, the model, and the hub commits if known.

        With `doubts`, if there are mismatches that the user has allowed.
        """
        doubts = self.doubts
        return {
            **({"doubts": doubts} if doubts else {}),
            "engine": self._runner and self._runner.engine,
            "model": self.info.label,
            "model_commit": self.commit,
            "saes": {
                str(site): {"source": str(source.source), "commit": source.commit}
                for site, source in self._sources.items()
            },
        }

    def model_files(self) -> list[Path]:
        """The weights of the model, then those of each SAE; see `saeviz.HasModelFiles`."""
        return list(dict.fromkeys([*self.files, *(source.weights for source in self._sources.values())]))

    def numbers_of_images(self, space: FeatureSpace) -> list[str]:
        """The reconstruction error, of patches only on request; see `saeviz.HasNumbersOfImages`."""
        measured = space.tokens in VECTORS or self.options.patch_errors
        return [RECONSTRUCTION_ERROR] if measured else []

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Batches of features, see `saeviz.FeatureExtractor`; the values do not depend on `batch_size`."""
        items = iter(items)
        first = next(items, None)
        if first is None:
            return
        poolers = {site: self._pooler(site) for site in self._sources}
        self._try_model()
        for chunk, pixels in decode_ahead(
            chain([first], items), self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            ids = tuple(item.item_id for item in chunk)
            activations = self._run(pixels)
            for site, pooler in poolers.items():
                table = self._tables[site]
                for tokens, dense in pooler(activations, table.point).items():
                    space, features = table.space(tokens, dense.shape[1]), to_csr(dense)
                    error = pooler.unexplained
                    if tokens in VECTORS:
                        error = self._sae(site).unexplained(features, activations.cls(table.point))
                    of_images = {} if error is None else {RECONSTRUCTION_ERROR: error}
                    yield FeatureBatch(space, ids, features, of_images)

    def health(self, items: Sequence[ImageItem]) -> Iterator[Health]:
        """Explained variance and L0 of each SAE on these images; see `saeviz.Checkable`."""
        examinations = {
            site: Examination(self._sae(site), "cls" if table.layer is not None else IMAGE)
            for site, table in self._tables.items()
        }
        self._try_model()
        for _, pixels in decode_ahead(items, self._pixels, batch_size=self.options.batch_size, context=self.context):
            activations = self._activations(pixels, self._points)
            for site, examination in examinations.items():
                point = self._tables[site].point
                cls = activations.cls(point) if activations.has_cls(point) else None
                examination.add(cls, activations.patches(point).flatten(0, 1))
        if not all(examination.n_tokens for examination in examinations.values()):
            raise DataError(f"none of the {len(items)} images that were looked at can be read")
        for site, examination in examinations.items():
            source = self._sources[site]
            name = source.known.name if source.known else source.source
            yield examination.result(f"{self._tables[site].title} ({name})", source.known)

    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """The activations that the SAE of `space` encodes, `[n, d_in]`; see `saeviz.HasActivations`."""
        return self.activations_of(items, [space])[0]

    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> list[Float32Array]:
        """The same for several spaces, from one pass through the model; see `saeviz.HasManyActivations`."""
        import numpy as np

        points = [self._tables[space.site].point for space in spaces]
        rows = [np.full((len(items), self._configs[space.site].d_in), np.nan, np.float32) for space in spaces]
        row_of = {item.item_id: row for row, item in enumerate(items)}
        self._try_model()
        for chunk, pixels in decode_ahead(
            items, self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            found = self._activations(pixels, tuple(dict.fromkeys(points)))
            places = [row_of[item.item_id] for item in chunk]
            for space, point, of_space in zip(spaces, points, rows, strict=True):
                x = found.cls(point) if space.tokens in VECTORS else found.patches(point).mean(1)
                of_space[places] = x.float().cpu().numpy()
        return rows

    def _run(self, pixels: Sequence[Tensor]) -> Activations:
        """Runs the model with the engine that the options name."""
        import torch

        cls_only = all(VECTORS.issuperset(self._kinds(site)) for site in self._sources)
        if self._runner is None:
            forward = partial(self._states, points=self._points, cls_only=cls_only)
            self._runner = self._engine(
                self.loaded[1], forward, "the model", self.options.precision, self.options.engine
            )
        batch = torch.stack(list(pixels))
        states = dict(zip(self._points, self._runner(batch), strict=True))
        return self._as_activations(batch, states, cls_only=cls_only)

    def _pooler(self, site: Site) -> Pooler:
        import torch

        sae = self._sae(site)

        def make_runner(encode: Callable[[Tensor], Sequence[Tensor]]) -> Runner:
            # If an SAE jumps, an engine that rounds differently would give other features, so it always runs in torch.
            choice = "torch" if sae.jumps else self.options.engine
            name = f"the SAE of {self._tables[site].title}"
            return self._engine(torch.nn.Module(), lambda _, x: encode(x), name, "float32", choice)

        if site not in self._poolers:
            self._poolers[site] = Pooler(sae, self._kinds(site), make_runner, decodes=self.options.patch_errors)
        return self._poolers[site]

    def _engine(
        self,
        module: Module,
        forward: Forward,
        name: str,
        precision: Literal["float32", "bfloat16"] | None,
        choice: EngineChoice,
    ) -> Runner:
        return Runner(
            module,
            forward,
            choice=choice,
            option=self.context.option("engine"),
            context=self.context,
            precision=precision,
            name=name,
        )
