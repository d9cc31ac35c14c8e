"""Images to sparse features: one forward pass per batch, then the SAE of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from saeviz import (
    ConfigError,
    Context,
    DataError,
    FeatureBatch,
    FeatureSpace,
    Health,
    ImageItem,
    SAEFeatureResult,
    SpatialFeatures,
    Tokens,
)
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.engine import EngineChoice, Runner
from saeviz.toolkit.torch import torch_device
from saeviz_vit.binding import check_binding, kind_of, untrained
from saeviz_vit.models.model import Activations, VisionModel
from saeviz_vit.models.pixels import prepare
from saeviz_vit.models.spatial import FINER, Frame, run_windows
from saeviz_vit.options import SAEOptions
from saeviz_vit.pooling import Pooler, to_csr
from saeviz_vit.saes.health import Examination
from saeviz_vit.saes.sae import SAE, SAEConfig
from saeviz_vit.saes.sources import SAESource

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.openvino import Forward
    from saeviz.typing import Float32Array


class SAEExtractor:
    """What `clip-b32-prisma` and `vit-sae` share. Models load when the first image comes."""

    def __init__(self, options: SAEOptions, context: Context, model: VisionModel) -> None:
        self.options = options
        self.context = context
        self._model = model
        self._sources = {
            layer: SAESource(layer, source, options.revision, context) for layer, source in options.sources.items()
        }
        self._saes: dict[int, SAE] = {}
        self._tried = False
        self._runner: Runner | None = None
        self._poolers: dict[int, Pooler] = {}

    @property
    def spaces(self) -> list[FeatureSpace]:
        """The spaces, by layer and then as `tokens` lists them. Needs the configs, not the weights.

        Raises `DataError` where an SAE and the model do not belong together.
        """
        return [
            FeatureSpace(layer, tokens, config.d_sae)
            for layer, config in self._configs.items()
            for tokens in self.options.tokens
        ]

    @property
    def provenance(self) -> dict[str, Any]:
        """What the features come from, JSON-able: what ran the model, and hub commits where there are some."""
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

    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: int | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """CLS features of one image at `layer` (default: the last one configured).

        Raises `ImageError` for a picture that cannot be read.
        """
        import numpy as np

        layer, sae = self._sae_for(layer, "cls")
        x = self._activations([self._pixels(image)], [layer]).cls(layer)
        encoded = sae.encode(x)
        features = encoded[0].cpu().numpy()

        def reconstruct() -> Float32Array:
            estimate: Float32Array = sae.decode(encoded, x)[0].numpy()
            return estimate

        order = np.argsort(-features, kind="stable")[: min(top_k, int((features > 0).sum()))]
        return SAEFeatureResult(
            space=FeatureSpace(layer, "cls", features.size),
            features=features,
            num_active=int((features > 0).sum()),
            top_indices=order,
            top_values=features[order],
            reconstruct=reconstruct,
        )

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: int | None = None) -> SpatialFeatures:
        """Features of every patch of one image at `layer` (default: the last one configured).

        Raises `ImageError` for a picture that cannot be read.
        """
        layer, sae = self._sae_for(layer, "patch-max")
        activations = self._activations([self._pixels(image)], [layer])
        features = sae.encode(activations.patches(layer)[0])
        return SpatialFeatures(layer, features.cpu().numpy(), activations.grid)

    def heatmaps(
        self, images: Sequence[Image | ImageItem | Path | str], layer: int, features: Sequence[int], fine: bool = False
    ) -> Float32Array:
        """Where some features fire, `[n, n_features, rows, cols]`, see `saeviz.HeatmapExtractor`.

        A fine map has 5 x 5 cells for each patch: the value of a cell is the feature on a patch around its centre,
        for which the crop is moved. It takes 25 forward passes an image.
        """
        import numpy as np

        layer, sae = self._sae_for(layer, "patch-max")
        unknown = [feature for feature in features if not 0 <= feature < sae.config.d_sae]
        if unknown:
            raise ConfigError(f"layer {layer} has {sae.config.d_sae} features, so there is no feature {unknown[0]}")
        if not images:
            return np.zeros((0, len(features), 0, 0), np.float32)

        def features_of(pixels: Sequence[Tensor]) -> Tensor:
            activations = self._activations(pixels, [layer])
            encoded = sae.encode_only(activations.patches(layer).flatten(0, 1), features)
            return encoded.view(len(pixels), *activations.grid, len(features))

        windows = (window for image in images for window in self._windows(image, fine))
        per_side = FINER if fine else 1
        return run_windows(windows, features_of, batch_size=self.options.batch_size, per_side=per_side)

    def field_of_view(self, image: Image | ImageItem | Path | str) -> tuple[float, float, float, float]:
        """What the patches of an image cover: left, top, right, bottom in its pixels."""
        self._model.load()
        return self._frame(image).box

    def health(self, items: Sequence[ImageItem]) -> Iterator[Health]:
        """What each layer's SAE does to the activations of these images, see `saeviz.Checkable`."""
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
        """What the SAE of `space` reads of every image, `[n, d_in]`, see `saeviz.HasActivations`."""
        return self.activations_of(items, [space])[0]

    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> list[Float32Array]:
        """The same for several spaces, from one pass of the model, see `saeviz.HasManyActivations`."""
        import numpy as np

        layers = sorted({space.layer for space in spaces})
        rows = [np.full((len(items), self._configs[space.layer].d_in), np.nan, np.float32) for space in spaces]
        row_of = {item.item_id: row for row, item in enumerate(items)}
        self._try_model()
        for chunk, pixels in decode_ahead(
            items, self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            found = self._activations(pixels, layers)
            places = [row_of[item.item_id] for item in chunk]
            for space, of_space in zip(spaces, rows, strict=True):
                x = found.cls(space.layer) if space.tokens == "cls" else found.patches(space.layer).mean(1)
                of_space[places] = x.float().cpu().numpy()
        return rows

    def decoder(self, space: FeatureSpace) -> Float32Array:
        """`W_dec` of the SAE of `space`, `[n_features, d_in]`."""
        directions: Float32Array = self._sae(space.layer).W_dec.numpy()
        return directions

    @cached_property
    def _configs(self) -> dict[int, SAEConfig]:
        """The config of every SAE, all of them checked against the model and the options."""
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
        """Load the model, and see with a single picture that its activations come batch first."""
        from PIL import Image

        if not self._tried:
            self._model.load()
            layer = min(self._sources)
            activations = self._activations([self._pixels(Image.new("RGB", (64, 64)))], [layer])
            if "cls" in self.options.tokens:
                activations.cls(layer)
            self._tried = True

    def _pixels(self, image: Image | ImageItem | Path | str) -> Tensor:
        return prepare(image, self._model.transform)

    def _windows(self, image: Image | ImageItem | Path | str, fine: bool) -> Iterable[Tensor]:
        return self._frame(image).windows() if fine else [self._pixels(image)]

    def _frame(self, image: Image | ImageItem | Path | str) -> Frame:
        return prepare(image, lambda picture: Frame.of(picture, self._model))

    def _activations(self, pixels: Sequence[Tensor], layers: Sequence[int]) -> Activations:
        import torch

        with torch.inference_mode():
            return self._model.activations(torch.stack(list(pixels)), layers)

    def _run(self, pixels: Sequence[Tensor]) -> Activations:
        """The outputs of the layers that were asked for, from the engine that was asked for."""
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
            # Where an SAE jumps, an engine that rounds differently would give other features: that is always torch's.
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
