"""The extractor `vit-sae`: vision transformers of the transformers library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz import Context, DataError
from saeviz.toolkit.hub import commit_of, fetch
from saeviz.toolkit.model_folders import PROCESSOR_NAMES, from_folder, processor_settings
from saeviz.toolkit.tokens import HookPoint, ModelInfo, TokenExtractor, TokenGrid, recorded
from saeviz.toolkit.torch import first_line, loading_errors
from saeviz_vit.options import VitOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.embed import Transform


WEIGHTS_NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
NEEDED = "config.json, model.safetensors and preprocessor_config.json (or processor_config.json)"
UNUSED = {"pooler", "mask_token", "text_model", "text_projection", "visual_projection", "logit_scale"}
"""Parts that may be missing from a model's files: transformers initialises them at random, but no block reads them."""
SIZES = ("hidden_size", "num_hidden_layers", "patch_size")
NOT_MASKED = {"vit_mae": "ViTModel"}
"""Models whose own class leaves out patches at random, and the one that reads the same weights and leaves none out."""


class VitExtractor(TokenExtractor):
    """A vision transformer from a folder or the hub, without the blocks after the last layer that is read.

    See `saeviz.FeatureExtractor` and `saeviz.SingleImageExtractor`.
    """

    hooks = ("resid_post", "mlp_out", "attn_out")
    options: VitOptions

    def __init__(self, options: VitOptions, context: Context) -> None:
        super().__init__(options, context)
        self._source = options.model
        self._revision = options.model_revision
        self._last = max(table.layer for table in options.tables.values() if isinstance(table.layer, int))
        self._crops_centre = options.crops_centre
        self._option = self.context.option("model")

    @cached_property
    def info(self) -> ModelInfo:
        """The model as its config describes it. Raises `DataError` if it is not a vision transformer."""
        local = self._config_path.parent if Path(self._source).expanduser().exists() else None
        names = (local.resolve().name, str(self._config.get("_name_or_path", ""))) if local else (str(self._source),)
        width, n_blocks = self._vision.get("hidden_size"), self._vision.get("num_hidden_layers")
        if not isinstance(width, int) or not isinstance(n_blocks, int):
            raise DataError(
                f"{self._option}: {self._config_path} does not describe a vision transformer "
                "(hidden_size or num_hidden_layers is missing)"
            )
        label, patch = str(self._source), self._vision.get("patch_size")
        image = _edge(self._preprocessing, crops_centre=self._crops_centre)
        patch = patch if isinstance(patch, int) else None
        return ModelInfo(label, tuple(filter(None, names)), local is None, width, n_blocks, image, patch)

    @property
    def commit(self) -> str | None:
        """Hub commit that the model was loaded from; None for local files."""
        return commit_of(self._config_path)

    def load(self) -> tuple[Transform, Module]:
        """The model's own image processor, and the model."""
        _ = self._processor
        return self.transform, self._model

    def transform(self, image: Image) -> Tensor:
        """Output of the model's own image processor for the picture, or for its centre."""
        if self._crops_centre:
            from torchvision.transforms.functional import center_crop

            edge = self._edge
            return self._process(center_crop(_resized(image, edge), [edge, edge]), do_resize=False)
        return self._process(image)

    def whole(self, image: Image) -> Tensor:
        """The same without the crop."""
        crops = {"do_center_crop": False} if getattr(self._processor, "do_center_crop", False) else {}
        if self._crops_centre:
            return self._process(_resized(image, self._edge), do_resize=False, **crops)
        return self._process(image, **crops)

    def patch(self, point: HookPoint) -> tuple[int, int]:  # noqa: ARG002
        """Height and width of a patch in pixels, the same everywhere."""
        size = self._vision.get("patch_size")
        rows, columns = size if isinstance(size, list) else (size, size)
        if not isinstance(rows, int) or not isinstance(columns, int):
            raise DataError(f"{self._option}: {self._config_path} has no patch_size")
        return rows, columns

    @property
    def _edge(self) -> int:
        if self.info.image_size is None:
            raise DataError(
                f"{self._option}: its preprocessor_config.json has no square size; "
                f"set {self.context.option('centre_crop')} = false"
            )
        return self.info.image_size

    def tokens(self, model: Any, pixels: Tensor, points: Sequence[HookPoint]) -> list[TokenGrid]:
        """What blocks give, or their parts."""
        blocks = model.get_submodule(self._blocks)
        parts = {point: _part(blocks, point) for point in points}
        for point, part in parts.items():
            if part is None:
                kind = type(blocks[point.layer]).__name__
                raise DataError(f"{self._option}: {point.hook} cannot be read in a {kind}; resid_post can")
        with recorded(parts) as seen:
            model(pixel_values=pixels)
        rows, columns = self.patch(points[0])
        grid = int(pixels.shape[-2]) // rows, int(pixels.shape[-1]) // columns
        for states in seen.values():
            self._check(states, len(pixels), grid)
        return [TokenGrid.of(seen[point], grid) for point in points]

    def _check(self, states: Tensor, n: int, grid: tuple[int, int]) -> None:
        shape = tuple(states.shape)
        fits = len(shape) == 3 and shape[0] == n and shape[1] >= grid[0] * grid[1] and shape[2] == self.info.width
        if not fits:
            raise DataError(
                f"{self._option}: blocks of {self._source} give {shape} for {n} images of {grid[0]} x {grid[1]} "
                f"patches, not (images, tokens, {self.info.width}); only plain vision transformers are supported"
            )

    def _process(self, image: Image, **changes: Any) -> Tensor:
        pixels: Tensor = self._processor(image.convert("RGB"), return_tensors="pt", **changes)["pixel_values"][0]
        return pixels

    @cached_property
    def _config_path(self) -> Path:
        return self._fetch(("config.json",), self._revision)

    @cached_property
    def _config(self) -> dict[str, Any]:
        try:
            config = json.loads(self._config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self._option}: {self._config_path} cannot be read as JSON: {error}") from error
        if not isinstance(config, dict):
            raise DataError(f"{self._option}: {self._config_path} is not the config of a model")
        return config

    @cached_property
    def _vision(self) -> dict[str, Any]:
        """The config of the image half, with what it leaves to the defaults of its class, as SigLIP's does."""
        vision = self._config.get("vision_config", self._config)
        if not isinstance(vision, dict):
            return {}
        if set(SIZES) <= vision.keys():
            return vision
        try:
            config = from_folder("AutoConfig", self._config_path.parent, self._option)
        except loading_errors():  # of no model that transformers knows: said by what asks for a size
            return vision
        defaults: dict[str, Any] = getattr(config, "vision_config", config).to_dict()
        return defaults | vision

    @cached_property
    def _preprocessing(self) -> dict[str, Any]:
        """The image processor's config, before it is loaded; empty if it cannot be read."""
        try:
            return processor_settings(self._processor_file.parent)
        except (DataError, OSError, ValueError):  # loading the model will say what is wrong
            return {}

    @cached_property
    def _processor_file(self) -> Path:
        """A file that describes the image processor; from the hub, all such files are downloaded."""
        path = self._fetch(PROCESSOR_NAMES, self.commit or self._revision)
        for name in PROCESSOR_NAMES[PROCESSOR_NAMES.index(path.name) + 1 :] if self.commit else ():
            with suppress(DataError):
                self._fetch((name,), self.commit or self._revision)
        return path

    @cached_property
    def files(self) -> list[Path]:
        """The file with the weights, or all files that they are divided among."""
        weights = self._fetch(WEIGHTS_NAMES, self.commit or self._revision)
        if weights.suffix != ".json":
            return [weights]
        return [self._fetch((shard,), self.commit or self._revision) for shard in _shards(weights, self._option)]

    @cached_property
    def _folder(self) -> Path:
        """The folder that has config, weights and image processor."""
        _ = self.files
        _ = self._processor_file
        return self._config_path.parent

    def _fetch(self, names: Sequence[str], revision: str) -> Path:
        return fetch(self._source, names, context=self.context, revision=revision, option=self._option, needed=NEEDED)

    @cached_property
    def _model(self) -> Any:
        """The model without the blocks that are not needed."""
        kind = NOT_MASKED.get(str(self._config.get("model_type")), "AutoModel")
        try:
            model, info = from_folder(kind, self._folder, self._option, output_loading_info=True)
        except loading_errors() as error:
            raise DataError(f"{self._option}: transformers cannot load {self._source} ({first_line(error)})") from error
        missing = sorted(key for key in info["missing_keys"] if not UNUSED & set(key.split(".")))
        if missing:
            raise DataError(
                f"{self._option}: the weights of {self._source} lack {len(missing)} arrays such as {missing[0]}"
            )
        model = getattr(model, "vision_model", model)
        self._blocks = _blocks(model, self.info, self._option)
        del model.get_submodule(self._blocks)[self._last + 1 :]
        return model

    @cached_property
    def _processor(self) -> Any:
        try:
            return from_folder("AutoImageProcessor", self._folder, self._option)
        except loading_errors() as error:
            raise DataError(
                f"{self._option}: the image processor of {self._source} cannot be loaded ({first_line(error)})"
            ) from error


def _shards(index: Path, option: str) -> list[str]:
    """The files that an index names, all in its folder."""
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{option}: {index} is not an index of weights: {error!r}") from error
    away = sorted(name for name in names if Path(name).name != name)
    if away:
        raise DataError(f"{option}: {index} names {away[0]!r}, which does not lie beside it")
    return sorted(names)


def _edge(preprocessing: dict[str, Any], *, crops_centre: bool) -> int | None:
    """Edge of the square output in pixels; None if it is not square or not known."""
    cropped = preprocessing.get("do_center_crop") and not crops_centre
    size = preprocessing.get("crop_size" if cropped else "size")
    if isinstance(size, dict):
        size = size.get("height") if size.get("height") == size.get("width") else None
    return size if isinstance(size, int) else None


def _resized(image: Image, edge: int) -> Image:
    """The picture, short edge resized bicubically to `edge`, before RGB, as ViT-Prisma does before its crop."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resize

    resized: Image = resize(image, edge, InterpolationMode.BICUBIC)
    return resized


def _blocks(model: Any, info: ModelInfo, option: str) -> str:
    """Name of the model's list of transformer blocks, which has as many as the config says."""
    from torch.nn import ModuleList

    for name, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == info.n_blocks:
            return str(name)
    raise DataError(
        f"{option}: {info.label} has no list of {info.n_blocks} transformer blocks; only plain vision transformers "
        "are supported"
    )


PARTS = {"attn_out": ("layer_scale1", "attention", "self_attn"), "mlp_out": ("layer_scale2", "mlp")}
"""Parts of a block whose output is added to the residual stream; of several that a block has, the first."""
SCALED_OUTSIDE = ("lambda_1", "lambda_2")
"""Factors of a block that no part of it applies."""


def _part(blocks: Any, point: HookPoint) -> Any:
    """The module whose output is what `point` names; None if there is none."""
    block = blocks[point.layer]
    if point.hook == "resid_post":
        return block
    found = [getattr(block, name) for name in PARTS[point.hook] if hasattr(block, name)]
    return found[0] if found and not any(hasattr(block, name) for name in SCALED_OUTSIDE) else None
