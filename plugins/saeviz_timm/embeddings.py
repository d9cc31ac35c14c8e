"""The pooled features of a timm model, before its classifier."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.embed import ModelFiles, TorchEmbeddings, to_inference
from saeviz_timm import TimmOptions

if TYPE_CHECKING:
    import torch

    from saeviz.toolkit.embed import Forward, Transform


class TimmEmbeddings(TorchEmbeddings):
    """Pooled features before the classifier, of images as the model's own transform prepares them.

    The configuration is read at first need, the weights at the first image.
    """

    def __init__(self, options: TimmOptions, context: saeviz.Context) -> None:
        super().__init__(options.batch_size, context, options.engine)
        self.options = options

    @cached_property
    def dim(self) -> int:
        """Length of the pooled features, from the architecture alone."""
        return int(self._build(pretrained=False).head_hidden_size)

    def model_files(self) -> list[Path]:
        """The file with the weights; see `saeviz.HasModelFiles`."""
        return self._files.weights()

    def load(self) -> tuple[Transform, torch.nn.Module, Forward]:
        """The model with its weights, and its own transform."""
        from timm.data import create_transform, resolve_data_config

        self._files.folder_with("model.safetensors")
        model: Any = to_inference(self._build(pretrained=True), self.context)

        def pooled(model: Any, pixels: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = model.forward_head(model.forward_features(pixels), pre_logits=True)
            return features

        return create_transform(**resolve_data_config({}, model=model)), model, pooled

    def _build(self, *, pretrained: bool) -> Any:
        import timm

        folder = self._files.folder_with("config.json")
        with self._files.explained():
            return timm.create_model(f"local-dir:{folder}", pretrained=pretrained)

    @cached_property
    def _files(self) -> ModelFiles:
        model = self.options.model
        option = self.context.option("model")
        source = model if "/" in model or "\\" in model or Path(model).is_dir() else _hub_id(model, option)
        names = ("config.json", "model.safetensors")
        return ModelFiles(source, names, option, self.context, self.options.revision)


def _hub_id(name: str, option: str) -> str:
    """The repository that timm itself takes the weights of this model from."""
    import timm

    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise saeviz.ConfigError(f"{option}: {name!r} is neither a folder nor a timm model{hint}")
    try:
        hub_id = timm.models.get_pretrained_cfg_value(name, "hf_hub_id")
    except RuntimeError as error:
        known = ", ".join(timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)) or "none"
        raise saeviz.ConfigError(f"{option}: {name!r} has no such weights; known: {known}") from error
    if not hub_id:
        raise saeviz.ConfigError(f"{option}: {name!r} has no weights on the hub; give a folder")
    return str(hub_id)
