"""The class token of DINOv2 after its final LayerNorm."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.embed import ModelFiles, TorchEmbeddings, to_inference
from saeviz.toolkit.model_folders import PROCESSOR_NAMES, from_folder, processor_settings
from saeviz_dinov2 import Dinov2Options

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from PIL.Image import Image

    from saeviz.toolkit.embed import Forward, Transform

MODEL_TYPES = ("dinov2", "dinov2_with_registers")


class Dinov2Embeddings(TorchEmbeddings):
    """The class token after the final LayerNorm (`pooler_output` of transformers).

    The configuration is read at first need, the weights at the first image.
    """

    def __init__(self, options: Dinov2Options, context: saeviz.Context) -> None:
        super().__init__(options.batch_size, context, options.engine)
        names = ("config.json", "preprocessor_config.json", "model.safetensors")
        self._files = ModelFiles(options.model, names, context.option("model"), context, options.revision)

    @property
    def dim(self) -> int:
        """The model's width, from its configuration only."""
        return int(self._config.hidden_size)

    def model_files(self) -> list[Path]:
        """The file with the weights; see `saeviz.HasModelFiles`."""
        return self._files.weights()

    def load(self) -> tuple[Transform, torch.nn.Module, Forward]:
        """The image processor and the model of the same folder."""
        processor = self._processor()

        def prepare(image: Image) -> torch.Tensor:
            pixels: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
            return pixels

        def class_token(model: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
            token: torch.Tensor = model(pixel_values=pixels).pooler_output
            return token

        return prepare, self._model(), class_token

    @cached_property
    def _config(self) -> Any:
        folder = self._files.folder_with("config.json")
        with self._files.explained():
            config = from_folder("AutoConfig", folder, self._files.option)
        if config.model_type not in MODEL_TYPES:
            raise saeviz.ConfigError(
                f"{self._files.option}: {self._files.source} is a {config.model_type!r} model, not DINOv2; "
                "for others use the embeddings 'timm'"
            )
        return config

    def _processor(self) -> Any:
        folder = self._files.folder_with(*PROCESSOR_NAMES)
        with self._files.explained():
            settings = processor_settings(folder)
            if "image_mean" not in settings or "image_std" not in settings:
                raise ValueError(f"{PROCESSOR_NAMES[0]} has no image_mean or no image_std")
            return from_folder("AutoImageProcessor", folder, self._files.option)

    def _model(self) -> torch.nn.Module:
        folder = self._files.folder_with("model.safetensors")
        with self._files.explained():
            model, info = from_folder(
                "AutoModel",
                folder,
                self._files.option,
                config=self._config,
                use_safetensors=True,
                output_loading_info=True,
            )
        if info["missing_keys"]:
            missing = min(info["missing_keys"])
            raise saeviz.DataError(f"{self._files.option}: {folder / 'model.safetensors'} has no weights for {missing}")
        return to_inference(model, self.context)
