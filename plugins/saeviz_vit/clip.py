"""The extractor `clip-b32-prisma`: CLIP through open_clip, its image tower for the SAEs, both towers for words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz import ConfigError, Context, DataError, ImageItem
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.hub import commit_of, fetch
from saeviz.toolkit.model_folders import check_folder
from saeviz.toolkit.tokens import HookPoint, ModelInfo, TokenExtractor, TokenGrid
from saeviz.toolkit.tokens.pixels import ByTable, without_crop
from saeviz.toolkit.torch import first_line, loading_errors, torch_device, torch_dtype
from saeviz_vit.openclip import (
    class_tokens_at,
    import_open_clip,
    read_folder_config,
    tokens_at,
    untouched_logging,
)
from saeviz_vit.options import ClipOptions

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.embed import Transform
    from saeviz.typing import Float32Array


ARCHITECTURE = "ViT-B-32"
SIZES = (768, 12, 224, 32, 512)
"""Width, number of blocks, edge of a picture and of a patch in pixels, length of an embedding."""
HUB_IDS = {"datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"}
"""The tag that the Prisma SAEs belong to. open_clip knows all tags, but takes seconds to import."""
WEIGHTS_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
NEEDED = "open_clip_config.json and open_clip_model.safetensors"
TEXTS_PER_BATCH = 256


class ClipExtractor(TokenExtractor):
    """CLIP by tag, from a weights file of ViT-B-32, or from a folder in open_clip's own layout.

    See `saeviz.FeatureExtractor`, `saeviz.SingleImageExtractor` and `saeviz.TextAligned`.
    """

    hooks = ("resid_post", "mlp_out", "attn_out", "embedding")
    options: ClipOptions

    def __init__(self, options: ClipOptions, context: Context) -> None:
        super().__init__(options, context)
        self._source = options.clip_checkpoint
        self._path = Path(self._source).expanduser()
        self._option = self.context.option("clip_checkpoint")

    @cached_property
    def info(self) -> ModelInfo:
        """The model as its config describes it. Raises `DataError` if it is not a vision transformer."""
        if self._path.is_dir():
            vision = self._local_config["vision_cfg"]
            name = self._path.resolve().name
            edges = map(vision.get, ("image_size", "patch_size"))
            sizes = (size if isinstance(size, int) else None for size in (*edges, self._local_config.get("embed_dim")))
            label = f"the CLIP model in the folder {self._source}"
            return ModelInfo(label, (name,), False, vision["width"], vision["layers"], *sizes)
        if self._path.is_file():
            return ModelInfo(f"{ARCHITECTURE} with the weights in {self._source}", (), False, *SIZES)
        hub_id = HUB_IDS.get(str(self._source)) or self._tag["hf_hub"].strip("/")
        return ModelInfo(f"open_clip's {ARCHITECTURE} {self._source} ({hub_id})", (hub_id,), True, *SIZES)

    @property
    def commit(self) -> str | None:
        """Hub commit of the weights, once they are loaded; None for local files."""
        return commit_of(self._weights) if "_weights" in self.__dict__ else None

    @property
    def files(self) -> list[Path]:
        """The file with the weights."""
        return [self._weights]

    def load(self) -> tuple[Transform, Module]:
        """The validation transform of open_clip, and the image tower."""
        return self._transform, self._model.visual

    def transform(self, image: Image) -> Tensor:
        """What open_clip makes of a picture, which it resizes before it converts it to RGB."""
        return self.loaded[0](image)

    def whole(self, image: Image) -> Tensor:
        """The same without the crop."""
        return without_crop(self.loaded[0])(image)

    def patch(self, point: HookPoint) -> tuple[int, int]:  # noqa: ARG002
        """Height and width of a patch in pixels, the same everywhere."""
        rows, columns = self._model.visual.patch_size
        return rows, columns

    def tokens(self, model: Any, pixels: Tensor, points: Sequence[HookPoint]) -> list[TokenGrid]:
        """The tokens at some hook points."""
        return tokens_at(model, pixels, points)

    def class_tokens(self, model: Any, pixels: Tensor, points: Sequence[HookPoint]) -> list[Tensor]:
        """The class tokens, for which the last block is computed in part."""
        return class_tokens_at(model, pixels, points)

    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """Unit vectors `[n, dim]` in CLIP's joint space; an unreadable image is reported and gives a row of NaN."""
        import numpy as np

        _ = self.loaded
        rows: dict[str, Float32Array] = {}
        for chunk, pixels in decode_ahead(
            items, self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            rows.update(zip((item.item_id for item in chunk), self._embed_pixels(pixels), strict=True))
        missing = np.full(self._embed_dim, np.nan, dtype=np.float32)
        return np.array([rows.get(item.item_id, missing) for item in items], np.float32).reshape(
            len(items), self._embed_dim
        )

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """Unit vectors `[n, dim]` in CLIP's joint space."""
        import numpy as np
        import torch

        parts = []
        for start in range(0, len(texts), TEXTS_PER_BATCH):
            with torch.inference_mode():
                tokens = self._tokenizer(list(texts[start : start + TEXTS_PER_BATCH])).to(torch_device(self.context))
                parts.append(_as_numpy(self._model.encode_text(tokens, normalize=True)))
        return np.concatenate(parts) if parts else np.zeros((0, self._embed_dim), np.float32)

    def _embed_pixels(self, pixels: Sequence[Tensor]) -> Float32Array:
        import torch

        batch = torch.stack(list(pixels)).to(torch_device(self.context), self._dtype)
        with torch.inference_mode():
            return _as_numpy(self._model.encode_image(batch, normalize=True))

    @property
    def _dtype(self) -> torch.dtype:
        return torch_dtype(self.context, self.options.precision)

    @cached_property
    def _name(self) -> str:
        return f"local-dir:{self._path}" if self._path.is_dir() else ARCHITECTURE

    @cached_property
    def _model(self) -> Any:
        tag = {} if self._path.exists() else self._tag
        weights = self._weights
        open_clip = import_open_clip()
        try:
            with untouched_logging():
                model = open_clip.create_model(
                    self._name,
                    pretrained=None if self._path.is_dir() else str(weights),
                    force_quick_gelu=tag.get("quick_gelu", False),
                    force_preprocess_cfg={key: tag[key] for key in PREPROCESS_KEYS if key in tag},
                    require_pretrained=True,
                    **self._text_tower,
                )
        except loading_errors() as error:
            reason = first_line(error)
            raise DataError(
                f"{self._option}: {self._source} is not a CLIP that open_clip can load ({reason})"
            ) from error
        return model.eval().to(torch_device(self.context), self._dtype)

    @cached_property
    def _local_config(self) -> dict[str, Any]:
        """`model_cfg` of a folder that has been checked to hold only data."""
        return read_folder_config(check_folder(self._path, self._option) / "open_clip_config.json", self._option)

    @property
    def _text_tower(self) -> dict[str, Any]:
        """The text tower of a folder, where its architecture is that of another model on the hub."""
        text = self._local_config["text_cfg"] if self._path.is_dir() else {}
        name = text.get("hf_model_name")
        if not name:
            return {}
        config = fetch(
            str(name), ("config.json",), context=self.context, option=f"{self._option}: text_cfg.hf_model_name"
        )
        return {"text_cfg": {**text, "hf_model_name": str(check_folder(config.parent, self._option))}}

    @cached_property
    def _transform(self) -> Any:
        open_clip = import_open_clip()
        config = open_clip.transform.PreprocessCfg(**self._model.visual.preprocess_cfg)
        *shape, to_numbers, normalize = open_clip.transform.image_transform_v2(config, is_train=False).transforms
        return open_clip.transform.Compose([*shape, ByTable([to_numbers, normalize])])

    @cached_property
    def _tokenizer(self) -> Any:
        open_clip, options = import_open_clip(), {}
        if self._path.is_dir() and self._local_config["text_cfg"].get("hf_tokenizer_name"):
            options = {"trust_remote_code": False, "local_files_only": True}
        try:
            with untouched_logging():
                return open_clip.get_tokenizer(self._name, **options)
        except loading_errors() as error:
            raise DataError(
                f"{self._option}: the tokenizer of {self._source} cannot be loaded ({first_line(error)})"
            ) from error

    @cached_property
    def _weights(self) -> Path:
        if self._path.exists():
            return fetch(self._path, WEIGHTS_NAMES, context=self.context, option=self._option)
        owner, name, *file = self._tag["hf_hub"].strip("/").split("/")
        return fetch(
            f"{owner}/{name}",
            file or WEIGHTS_NAMES,
            context=self.context,
            revision=self.options.clip_revision,
            option=self._option,
            needed=NEEDED,
        )

    @cached_property
    def _tag(self) -> dict[str, Any]:
        """What open_clip knows about a tag. Raises `ConfigError` for an unknown one."""
        import difflib

        if isinstance(self._source, Path) or set(self._source) & set("/\\~"):
            raise DataError(f"{self._option}: no file or folder {self._source}")
        open_clip = import_open_clip()
        known: dict[str, Any] | None = open_clip.get_pretrained_cfg(ARCHITECTURE, self._source)
        if not known or not known.get("hf_hub"):
            tags = open_clip.list_pretrained_tags_by_model(ARCHITECTURE)
            near = difflib.get_close_matches(self._source, tags, 3) or tags
            raise ConfigError(
                f"{self._option} = {self._source!r} is neither a file nor a folder nor an open_clip tag of "
                f"{ARCHITECTURE}; did you mean {', '.join(near)}?"
            )
        return known

    @property
    def _embed_dim(self) -> int:
        return int(self._model.visual.output_dim)


def _as_numpy(rows: Tensor) -> Float32Array:
    array: Float32Array = rows.float().cpu().numpy()
    return array
