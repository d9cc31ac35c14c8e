"""The options of both extractors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from saeviz import NEUTRAL, Options, Tokens
from saeviz.toolkit.engine import ENGINE_HELP, EngineChoice
from saeviz_vit.saes.registry import default_saes, find

Layer = Annotated[int, Field(ge=0, le=1000)]
PATH: dict[str, JsonValue] = {"path": True}
SAES = (
    "SAE per layer: a short name that `saeviz plugins` lists, a hub id (owner/repository or owner/repository:folder), "
    "a folder with the files of a known format, or a weights file beside its config"
)


class SAEOptions(Options):
    """What both extractors can be told."""

    layers: tuple[Layer, ...]
    saes: dict[Layer, str | Path]
    tokens: tuple[Tokens, ...] = Field(
        ("cls",),
        min_length=1,
        description="which features to keep of an image: cls (class token), patch-max or patch-mean "
        "(each feature pooled over the patches, after the SAE)",
    )
    batch_size: int = Field(32, ge=1, le=65_536, description="images per forward pass", **NEUTRAL)
    precision: Literal["float32", "bfloat16"] | None = Field(
        None, description="precision of the vision model, by default the run's; the SAEs always compute in float32"
    )
    engine: EngineChoice = Field("auto", description=ENGINE_HELP)
    revision: str | None = Field(
        None,
        min_length=1,
        description="hub revision of the SAEs, by default the pinned one of a known SAE and else main; a commit hash "
        "pins them (the manifest names the one that was used)",
    )
    formula: Literal["published", "document"] = Field(
        "published",
        description="published: act((x - b_dec) @ W_enc + b_enc), as the SAEs were trained; "
        "document: without the subtraction of b_dec",
    )
    insist: bool = Field(
        False, description="use SAEs whose config names another model, layer, hook point, image size or kind of token"
    )

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
            raise ValueError(f"layers asks for {', '.join(missing)}, for which saes names no SAE (it has {have})")
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
        description=f"{SAES}; by default the Prisma x64 SAEs trained on all tokens",
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
        description="cut the centre out of the picture, resized by its short edge, instead of what the model's image "
        "processor does to make it square; by default where known SAEs were trained so",
    )
    layers: tuple[Layer, ...] = Field(
        (), description="blocks whose output is read, counted from 0; by default those that saes names"
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
