"""Images to sparse features: one forward pass per batch, then the SAE of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from saeviz import Context, DataError, FeatureBatch, FeatureSpace, Health, ImageItem
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.engine import EngineChoice, Runner
from saeviz_vit.models.model import Activations, VisionModel
from saeviz_vit.options import SAEOptions
from saeviz_vit.pooling import Pooler, to_csr
from saeviz_vit.saes.health import Examination
from saeviz_vit.single import SingleImages

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.openvino import Forward
    from saeviz.typing import Float32Array


class SAEExtractor(SingleImages):
    """What `clip-b32-prisma` and `vit-sae` have in common. Models are loaded with the first image."""

    def __init__(self, options: SAEOptions, context: Context, model: VisionModel) -> None:
        super().__init__(options, context, model)
        self._runner: Runner | None = None
        self._poolers: dict[int, Pooler] = {}

    @property
    def provenance(self) -> dict[str, Any]:
        """Origin of the features, JSON-able: the engine that ran the model, the model, and the hub commits if known."""
        return {
            "engine": self._runner and self._runner.engine,
            "model": self._model.base.label,
            "model_commit": self._model.commit,
            "saes": {
                str(layer): {"source": str(source.source), "commit": source.commit}
                for layer, source in self._sources.items()
            },
        }

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Batches of features, see `saeviz.FeatureExtractor`; the values do not depend on `batch_size`."""
        items = iter(items)
        first = next(items, None)
        if first is None:
            return
        poolers = {layer: self._pooler(layer) for layer in self._sources}
        self._try_model()
        for chunk, pixels in decode_ahead(
            chain([first], items), self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            ids = tuple(item.item_id for item in chunk)
            activations = self._run(pixels)
            for layer, pooler in poolers.items():
                for tokens, features in pooler(activations, layer).items():
                    yield FeatureBatch(FeatureSpace(layer, tokens, features.shape[1]), ids, to_csr(features))

    def health(self, items: Sequence[ImageItem]) -> Iterator[Health]:
        """Explained variance and L0 of each layer's SAE on these images; see `saeviz.Checkable`."""
        examinations = {layer: Examination(self._sae(layer)) for layer in self._sources}
        self._try_model()
        for _, pixels in decode_ahead(items, self._pixels, batch_size=self.options.batch_size, context=self.context):
            activations = self._activations(pixels, list(examinations))
            for layer, examination in examinations.items():
                cls = activations.cls(layer) if activations.has_cls(layer) else None
                examination.add(cls, activations.patches(layer).flatten(0, 1))
        if not all(examination.n_tokens for examination in examinations.values()):
            raise DataError(f"none of the {len(items)} images that were looked at can be read")
        for layer, examination in examinations.items():
            source = self._sources[layer]
            name = source.known.name if source.known else source.source
            yield examination.result(f"layer {layer} ({name})", source.known)

    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """The activations that the SAE of `space` encodes, `[n, d_in]`; see `saeviz.HasActivations`."""
        return self.activations_of(items, [space])[0]

    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> list[Float32Array]:
        """The same for several spaces, from one pass through the model; see `saeviz.HasManyActivations`."""
        import numpy as np

        layers = sorted({int(space.layer) for space in spaces})
        rows = [np.full((len(items), self._configs[int(space.layer)].d_in), np.nan, np.float32) for space in spaces]
        row_of = {item.item_id: row for row, item in enumerate(items)}
        self._try_model()
        for chunk, pixels in decode_ahead(
            items, self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            found = self._activations(pixels, layers)
            places = [row_of[item.item_id] for item in chunk]
            for space, of_space in zip(spaces, rows, strict=True):
                x = found.cls(int(space.layer)) if space.tokens == "cls" else found.patches(int(space.layer)).mean(1)
                of_space[places] = x.float().cpu().numpy()
        return rows

    def _run(self, pixels: Sequence[Tensor]) -> Activations:
        """Runs the model with the engine that the options name."""
        import torch

        layers, cls_only = list(self._sources), set(self.options.tokens) == {"cls"}
        if self._runner is None:
            module, forward = self._model.tap(layers, cls_only=cls_only)
            self._runner = self._engine(module, forward, "the model", self.options.precision, self.options.engine)
        batch = torch.stack(list(pixels))
        states = dict(zip(layers, self._runner(batch), strict=True))
        return Activations(states, (0, 0) if cls_only else self._model.grid(batch))

    def _pooler(self, layer: int) -> Pooler:
        import torch

        sae = self._sae(layer)

        def make_runner(encode: Callable[[Tensor], Sequence[Tensor]]) -> Runner:
            # If an SAE jumps, an engine that rounds differently would give other features, so it always runs in torch.
            choice = "torch" if sae.jumps else self.options.engine
            name = f"the SAE of layer {layer}"
            return self._engine(torch.nn.Module(), lambda _, x: encode(x), name, "float32", choice)

        if layer not in self._poolers:
            self._poolers[layer] = Pooler(sae, self.options.tokens, make_runner)
        return self._poolers[layer]

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
            option="extractor.engine",
            context=self.context,
            precision=precision,
            name=name,
        )
