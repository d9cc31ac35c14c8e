"""The options of both extractors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from saeviz import Tokens
from saeviz.toolkit.engine import EngineOptions
from saeviz_vit.saes.registry import default_saes, find

logger = logging.getLogger("saeviz")
Layer = Annotated[int, Field(ge=0, le=1000)]
PATH: dict[str, JsonValue] = {"path": True}
SAES = (
    "SAE per layer: a short name that `saeviz plugins` lists, a hub id (owner/repository or owner/repository:folder), "
    "a folder with the files of a known format, or a weights file beside its config"
)


class SAEOptions(EngineOptions):
    """Options that both extractors share."""

    layers: tuple[Layer, ...]
    saes: dict[Layer, str | Path]
    tokens: tuple[Tokens, ...] = Field(
        ("cls",),
        min_length=1,
        description="features of an image to store: cls (class token), patch-max or patch-mean "
        "(each feature pooled over the patches, after the SAE)",
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        None, description="precision of the vision model; default: that of the run. The SAEs always compute in float32"
    )
    revision: str | None = Field(
        None,
        min_length=1,
        description="hub revision of the SAEs; default: the pinned one of a known SAE, else main. A commit hash "
        "pins them (the manifest records the one used)",
    )
    formula: Literal["published", "document"] = Field(
        "published",
        description="published: act((x - b_dec) @ W_enc + b_enc), as the SAEs were trained; "
        "document: without the subtraction of b_dec",
    )
    allow_mismatch: bool = Field(
        False, description="accept SAEs trained on another model, layer, hook point, image size or kind of token"
    )

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "insist" in values:
            logger.warning("extractor.insist is now called allow_mismatch; the old name is still read")
            values = {"allow_mismatch": values["insist"], **{k: v for k, v in values.items() if k != "insist"}}
        return values

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(layers)))

    @field_validator("tokens")
    @classmethod
    def _once(cls, tokens: tuple[Tokens, ...]) -> tuple[Tokens, ...]:
        return tuple(dict.fromkeys(tokens))

    @model_validator(mode="after")
    def _every_layer_has_an_sae(self) -> SAEOptions:
        known = {**self.default_saes(), **self.saes}
        missing = [str(layer) for layer in self.layers if layer not in known]
        if missing:
            have = ", ".join(map(str, sorted(known))) or "none"
            raise ValueError(f"layers contains {', '.join(missing)}, for which saes names no SAE (it has {have})")
        return self

    def default_saes(self) -> Mapping[int, str]:
        """The SAEs of layers that `saes` leaves out."""
        return {}

    @property
    def sources(self) -> dict[int, str | Path]:
        """The SAE of every layer asked for, in the order of the layers."""
        known = {**self.default_saes(), **self.saes}
        return {layer: known[layer] for layer in self.layers or sorted(known)}


class ClipOptions(SAEOptions):
    """Options of `clip-b32-prisma`."""

    layers: tuple[Layer, ...] = Field(
        (7, 8, 11), min_length=1, description="blocks whose output is read, counted from 0; all in one forward pass"
    )
    saes: dict[Layer, str | Path] = Field(
        {},
        json_schema_extra=PATH,
        description=f"{SAES}; default: the Prisma x64 SAEs trained on all tokens",
    )
    clip_checkpoint: str | Path = Field(
        "datacomp_xl_s13b_b90k",
        json_schema_extra=PATH,
        description="open_clip tag of ViT-B-32, a file with weights for ViT-B-32, or a folder in open_clip's layout "
        "(open_clip_config.json and weights) that brings its own architecture",
    )
    clip_revision: str = Field("main", min_length=1, description="hub revision of an open_clip tag; a commit pins it")

    def default_saes(self) -> Mapping[int, str]:
        """The published SAEs of layers 0 to 11."""
        return default_saes()


class VitOptions(SAEOptions):
    """Options of `vit-sae`."""

    model: str | Path = Field(
        json_schema_extra=PATH,
        description="hub id or folder of a transformers vision transformer, with its image processor",
    )
    model_revision: str = Field("main", min_length=1, description="hub revision of the model; a commit pins it")
    centre_crop: bool | None = Field(
        None,
        description="resize the picture by its short edge and crop the centre, instead of what the model's image "
        "processor does to make it square; default: true for known SAEs that were trained so",
    )
    layers: tuple[Layer, ...] = Field(
        (), description="blocks whose output is read, counted from 0; default: those that saes names"
    )
    saes: dict[Layer, str | Path] = Field(
        min_length=1,
        json_schema_extra=PATH,
        description=SAES,
    )

    @property
    def crops_centre(self) -> bool:
        """Whether the centre is cut out."""
        if self.centre_crop is not None:
            return self.centre_crop
        return any(known is not None and known.centre_crop for known in map(find, self.sources.values()))
