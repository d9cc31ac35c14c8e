"""CLIP through open_clip: its image tower, its text tower, its own preprocessing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz import ConfigError, Context, DataError, PluginError
from saeviz.toolkit.hub import commit_of, fetch
from saeviz.toolkit.model_folders import check_folder
from saeviz.toolkit.torch import first_line, loading_errors, torch_device, torch_dtype
from saeviz_vit.models.model import Activations, BaseModel, HookPoint, placed, recorded
from saeviz_vit.models.pixels import ByTable
from saeviz_vit.options import ClipOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.toolkit.openvino import Forward
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


class OpenClip:
    """A CLIP model of open_clip: by tag, from a weights file of ViT-B-32, or from a folder in its own layout."""

    def __init__(self, options: ClipOptions, context: Context) -> None:
        self._source = options.clip_checkpoint
        self._path = Path(self._source).expanduser()
        self._revision = options.clip_revision
        self._precision = options.precision
        self._context = placed(context)
        self._option = self._context.option("clip_checkpoint")

    @cached_property
    def base(self) -> BaseModel:
        """The model as its config describes it. Raises `DataError` if it is not a vision transformer."""
        if self._path.is_dir():
            vision = self._local_config["vision_cfg"]
            name = self._path.resolve().name
            edges = map(vision.get, ("image_size", "patch_size"))
            sizes = (size if isinstance(size, int) else None for size in (*edges, self._local_config.get("embed_dim")))
            label = f"the CLIP model in the folder {self._source}"
            return BaseModel(label, (name,), False, vision["width"], vision["layers"], *sizes)
        if self._path.is_file():
            return BaseModel(f"{ARCHITECTURE} with the weights in {self._source}", (), False, *SIZES)
        hub_id = HUB_IDS.get(str(self._source)) or self._tag["hf_hub"].strip("/")
        return BaseModel(f"open_clip's {ARCHITECTURE} {self._source} ({hub_id})", (hub_id,), True, *SIZES)

    @property
    def commit(self) -> str | None:
        """Hub commit of the weights, once they are loaded; None for local files."""
        return commit_of(self._weights) if "_weights" in self.__dict__ else None

    @property
    def files(self) -> list[Path]:
        """The file with the weights."""
        return [self._weights]

    @property
    def embed_dim(self) -> int:
        """Length of an embedding in the joint space."""
        return int(self._model.visual.output_dim)

    def load(self) -> None:
        """Load weights and transform now, before threads need them."""
        _ = self._model, self._transform

    def transform(self, image: Image) -> Tensor:
        """The validation transform of open_clip, which resizes before it converts to RGB."""
        pixels: Tensor = self._transform(image)
        return pixels

    def whole(self, image: Image) -> Tensor:
        """The same without the crop."""
        result: Any = image
        for step in self._transform.transforms:
            result = result if "CenterCrop" in type(step).__name__ else step(result)
        pixels: Tensor = result
        return pixels

    @property
    def patch(self) -> tuple[int, int]:
        """Rows and columns of pixels in a patch."""
        rows, columns = self._model.visual.patch_size
        return rows, columns

    def activations(self, pixels: Tensor, points: Sequence[HookPoint]) -> Activations:
        """What some hook points give; blocks after the last of them are not computed."""
        visual, forward = self.tap(points)
        return Activations(
            dict(zip(points, forward(visual, self._move(pixels)), strict=True)),
            self.grid(pixels),
            self._context.option("tokens"),
        )

    def grid(self, pixels: Tensor) -> tuple[int, int]:  # noqa: ARG002
        """Rows and columns of patches, the same for all pictures."""
        rows, columns = self._model.visual.grid_size
        return rows, columns

    def tap(self, points: Sequence[HookPoint], *, cls_only: bool = False) -> tuple[Any, Forward]:
        """The image tower, and the function that gives what is read in it."""
        return self._model.visual, partial(outputs_at, points=points, cls_only=cls_only)

    def embed_pixels(self, pixels: Sequence[Tensor]) -> Float32Array:
        """Unit vectors `[n, dim]` from the whole image tower."""
        import torch

        with torch.inference_mode():
            return _as_numpy(self._model.encode_image(self._move(torch.stack(list(pixels))), normalize=True))

    def embed_texts(self, texts: list[str]) -> Float32Array:
        """Unit vectors `[n, dim]` from the text tower."""
        import torch

        with torch.inference_mode():
            tokens = self._tokenizer(texts).to(torch_device(self._context))
            return _as_numpy(self._model.encode_text(tokens, normalize=True))

    def _move(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch_device(self._context), torch_dtype(self._context, self._precision))

    @cached_property
    def _name(self) -> str:
        return f"local-dir:{self._path}" if self._path.is_dir() else ARCHITECTURE

    @cached_property
    def _model(self) -> Any:
        tag = {} if self._path.exists() else self._tag
        weights = self._weights
        open_clip = _open_clip()
        try:
            with _untouched_logging():
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
        return model.eval().to(torch_device(self._context), torch_dtype(self._context, self._precision))

    @cached_property
    def _local_config(self) -> dict[str, Any]:
        """`model_cfg` of a folder that has been checked to hold only data."""
        return _read_config(check_folder(self._path, self._option) / "open_clip_config.json", self._option)

    @property
    def _text_tower(self) -> dict[str, Any]:
        """The text tower of a folder, where its architecture is that of another model on the hub."""
        text = self._local_config["text_cfg"] if self._path.is_dir() else {}
        name = text.get("hf_model_name")
        if not name:
            return {}
        config = fetch(
            str(name), ("config.json",), context=self._context, option=f"{self._option}: text_cfg.hf_model_name"
        )
        return {"text_cfg": {**text, "hf_model_name": str(check_folder(config.parent, self._option))}}

    @cached_property
    def _transform(self) -> Any:
        open_clip = _open_clip()
        config = open_clip.transform.PreprocessCfg(**self._model.visual.preprocess_cfg)
        *shape, to_numbers, normalize = open_clip.transform.image_transform_v2(config, is_train=False).transforms
        return open_clip.transform.Compose([*shape, ByTable([to_numbers, normalize])])

    @cached_property
    def _tokenizer(self) -> Any:
        open_clip, options = _open_clip(), {}
        if self._path.is_dir() and self._local_config["text_cfg"].get("hf_tokenizer_name"):
            options = {"trust_remote_code": False, "local_files_only": True}
        try:
            with _untouched_logging():
                return open_clip.get_tokenizer(self._name, **options)
        except loading_errors() as error:
            raise DataError(
                f"{self._option}: the tokenizer of {self._source} cannot be loaded ({first_line(error)})"
            ) from error

    @cached_property
    def _weights(self) -> Path:
        if self._path.exists():
            return fetch(self._path, WEIGHTS_NAMES, context=self._context, option=self._option)
        owner, name, *file = self._tag["hf_hub"].strip("/").split("/")
        return fetch(
            f"{owner}/{name}",
            file or WEIGHTS_NAMES,
            context=self._context,
            revision=self._revision,
            option=self._option,
            needed=NEEDED,
        )

    @cached_property
    def _tag(self) -> dict[str, Any]:
        """What open_clip knows about a tag. Raises `ConfigError` for an unknown one."""
        import difflib

        if isinstance(self._source, Path) or set(self._source) & set("/\\~"):
            raise DataError(f"{self._option}: no file or folder {self._source}")
        open_clip = _open_clip()
        known: dict[str, Any] | None = open_clip.get_pretrained_cfg(ARCHITECTURE, self._source)
        if not known or not known.get("hf_hub"):
            tags = open_clip.list_pretrained_tags_by_model(ARCHITECTURE)
            near = difflib.get_close_matches(self._source, tags, 3) or tags
            raise ConfigError(
                f"{self._option} = {self._source!r} is neither a file nor a folder nor an open_clip tag of "
                f"{ARCHITECTURE}; did you mean {', '.join(near)}?"
            )
        return known


def _open_clip() -> Any:
    try:
        import open_clip
    except RuntimeError as error:
        raise PluginError(f"open_clip cannot be imported; install torch and torchvision together: {error}") from error
    return open_clip


@contextmanager
def _untouched_logging() -> Iterator[None]:
    """Keep open_clip from adding a handler to the root logger, which would stay for the rest of the process."""
    before = logging.root.handlers[:]
    try:
        yield
    finally:
        logging.root.handlers[:] = before


def outputs_at(visual: Any, pixels: Tensor, points: Sequence[HookPoint], cls_only: bool) -> list[Tensor]:
    """Per hook point `[n, tokens, width]`, with `cls_only` `[n, 1, width]`; `[n, 1, dim]` of the embedding.

    Blocks after the last layer are not computed; with `cls_only` the last block is computed for the class token only.
    """
    blocks = visual.transformer.resblocks
    whole = any(point.hook == "embedding" for point in points)
    layers = sorted({point.layer for point in points if point.layer is not None}) or [len(blocks) - 1]
    last = layers[-1]
    shortened = cls_only and not whole and last > 0 and hasattr(blocks[last], "attention")
    read = sorted({*layers[:-1], last - 1}) if shortened else layers
    inside = [point for point in points if point.hook in ADDED and point.layer in read]
    with recorded({point: getattr(blocks[point.layer], ADDED[point.hook]) for point in inside}) as states:
        seen = visual.forward_intermediates(
            pixels,
            indices=read,
            stop_early=not whole,
            intermediates_only=not whole,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
    tokens = zip(read, seen["image_intermediates_prefix"], seen["image_intermediates"], strict=True)
    found = {HookPoint(layer): _all_tokens(visual, len(pixels), cls, patches) for layer, cls, patches in tokens}
    found |= {point: _all_tokens(visual, len(pixels), x[:, :1], x[:, 1:]) for point, x in states.items()}
    if shortened:
        found |= _class_token_after(last, blocks[last], found[HookPoint(last - 1)])
    if whole:
        found[HookPoint(None, "embedding")] = seen["image_features"].unsqueeze(1)
    return [found[point][:, :1] if cls_only else found[point] for point in points]


ADDED = {"attn_out": "ls_1", "mlp_out": "ls_2"}
"""Parts of a block whose output is added to the residual stream."""


def _class_token_after(layer: int, block: Any, x: Tensor) -> dict[HookPoint, Tensor]:
    """The class token in a residual attention block: it attends to all tokens, and only its output is computed."""
    normal = block.ln_1(x)
    attended = block.ls_1(block.attention(normal[:, :1], normal, normal))
    cls = x[:, :1] + attended
    added = block.ls_2(block.mlp(block.ln_2(cls)))
    return {
        HookPoint(layer, "attn_out"): attended,
        HookPoint(layer, "mlp_out"): added,
        HookPoint(layer): cls + added,
    }


def _all_tokens(visual: Any, n: int, cls: Tensor, patches: Tensor) -> Tensor:
    import torch

    (rows, columns), width = visual.grid_size, visual.conv1.out_channels
    for states, tokens in ((cls, 1), (patches, rows * columns)):
        found, expected = tuple(states.shape), (n, tokens, width)
        if found != expected:
            raise PluginError(f"open_clip gives activations of shape {found} instead of {expected}")
    return torch.cat([cls, patches], dim=1)


def _read_config(path: Path, option: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        sizes = [config["vision_cfg"][key] for key in ("width", "layers")]
        config["text_cfg"].get("hf_model_name")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{option}: {path} is not the config of an open_clip model: {error!r}") from error
    if not all(isinstance(size, int) for size in sizes):
        raise DataError(f"{option}: {path} does not describe a vision transformer (vision_cfg.layers is not a number)")
    if "timm_model_name" in config["vision_cfg"]:
        raise DataError(f"{option}: {path} has an image tower of timm (timm_model_name); only open_clip's own are read")
    return config


def _as_numpy(rows: Tensor) -> Float32Array:
    array: Float32Array = rows.float().cpu().numpy()
    return array
