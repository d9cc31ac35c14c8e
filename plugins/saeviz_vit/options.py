"""The options of both extractors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from saeviz import FeatureSpace, Tokens
from saeviz.toolkit.engine import EngineOptions
from saeviz.toolkit.sae import default_saes, find
from saeviz_vit.models.model import Hook, HookPoint

logger = logging.getLogger("saeviz")
Layer = Annotated[int, Field(ge=0, le=1000)]
PATH: dict[str, JsonValue] = {"path": True}
SOURCE = (
    "a short name that `saeviz plugins` lists, a hub id (owner/repository or owner/repository:folder), "
    "a folder with the files of a known format, or a weights file beside its config"
)
SAES = (
    f"SAE per layer: {SOURCE}; or tables [[extractor.saes]], of one of several extractors [[extractors.saes]], for "
    "several SAEs of a layer and other hook points"
)
EMBEDDING = "embedding"
"""Stage and hook of an SAE that reads the image embedding of the whole model; its one token is IMAGE."""
IMAGE = "image"


class SAETable(BaseModel):
    """A table of `[[extractor.saes]]`: an SAE, and where in the model it reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: str | Path = Field(json_schema_extra=PATH, description=SOURCE)
    layer: Layer | None = Field(None, description="block, counted from 0; none for the embedding")
    hook: Hook = Field(
        "resid_post",
        description="resid_post (what the block gives), mlp_out or attn_out (what its MLP or its attention adds), or "
        "embedding (the image embedding of CLIP)",
    )
    name: str = Field(
        "",
        pattern="^([a-z][a-z0-9-]{0,63})?$",
        description="in front of its spaces, mlp.layer7.cls; needed by all but one of the SAEs of a layer",
    )
    tokens: tuple[Tokens, ...] = Field((), description="as tokens of the extractor, for this SAE; default: those")

    @model_validator(mode="after")
    def _one_place(self) -> SAETable:
        if (self.layer is None) != (self.hook == EMBEDDING):
            says = "the embedding has no layer" if self.layer is not None else f"hook {self.hook} needs a layer"
            raise ValueError(f"{says}; give either a layer or hook = '{EMBEDDING}'")
        if self.hook == EMBEDDING and self.tokens:
            raise ValueError("there is one embedding per image; remove tokens")
        return self

    @property
    def point(self) -> HookPoint:
        """Where it reads."""
        return HookPoint(self.layer, self.hook)

    @property
    def site(self) -> int | str:
        """As `FeatureSpace.site`: 7, `mlp.layer7`, `embedding`."""
        return self.space("cls", 1).site

    @property
    def title(self) -> str:
        """The same in words."""
        return f"layer {self.site}" if isinstance(self.site, int) else self.site

    def space(self, tokens: str, n_features: int) -> FeatureSpace:
        """Its space at these tokens."""
        return FeatureSpace(EMBEDDING if self.layer is None else self.layer, tokens, n_features, self.name)

    def kinds(self, tokens: tuple[Tokens, ...]) -> tuple[str, ...]:
        """The tokens that it is read at, where the extractor reads `tokens`."""
        return (IMAGE,) if self.layer is None else tuple(dict.fromkeys(self.tokens)) or tokens


ByLayer = dict[Layer, str | Path]
Tables = tuple[SAETable, ...]
BY_LAYER: TypeAdapter[ByLayer] = TypeAdapter(ByLayer)
TABLES: TypeAdapter[Tables] = TypeAdapter(Tables)


class SAEOptions(EngineOptions):
    """Options that both extractors share."""

    layers: tuple[Layer, ...]
    saes: ByLayer | Tables
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

    patch_errors: bool = Field(
        False,
        description="also measure how much of the patches of each image the SAE misses, for spaces that pool patches; "
        "decoding them takes about as long as encoding them",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `patch_errors` where it is not set, so that runs from before it was there are still up to date."""
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name != "patch_errors" or value}

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "insist" in values:
            logger.warning("the option insist of an extractor is now called allow_mismatch; the old name is still read")
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

    @field_validator("saes", mode="wrap")
    @classmethod
    def _in_its_shape(cls, saes: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """By layer or as tables, so that mistakes are those of one shape."""
        return handler((TABLES if isinstance(saes, list | tuple) else BY_LAYER).validate_python(saes))

    @model_validator(mode="after")
    def _every_layer_has_an_sae(self) -> SAEOptions:
        if isinstance(self.saes, tuple):
            return self._with_tables(self.saes)
        known = {**self.default_saes(), **self.saes}
        missing = [str(layer) for layer in self.layers if layer not in known]
        if missing:
            have = ", ".join(map(str, sorted(known))) or "none"
            raise ValueError(f"layers contains {', '.join(missing)}, for which saes names no SAE (it has {have})")
        return self

    def _with_tables(self, tables: Tables) -> SAEOptions:
        if self.layers != type(self).model_fields["layers"].default:
            raise ValueError("layers: each table of saes says its layer; remove layers")
        first: dict[int | str, int] = {}
        for number, table in enumerate(tables):
            if table.site in first:
                both = f"{first[table.site]} and {number}"
                raise ValueError(f"saes: the tables {both} are both {table.title}; give one a name of its own")
            first[table.site] = number
        return self

    def default_saes(self) -> Mapping[int, str]:
        """The SAEs of layers that `saes` leaves out."""
        return {}

    @property
    def tables(self) -> dict[str, SAETable]:
        """The SAEs asked for by their option, `saes.7`: in the order of the layers, or as they are listed."""
        if isinstance(self.saes, tuple):
            return {f"saes.{number}": table for number, table in enumerate(self.saes)}
        known = {**self.default_saes(), **self.saes}
        return {f"saes.{layer}": SAETable(layer=layer, source=known[layer]) for layer in self.layers or sorted(known)}


class ClipOptions(SAEOptions):
    """Options of `clip-b32-prisma`."""

    layers: tuple[Layer, ...] = Field(
        (7, 8, 11), min_length=1, description="blocks whose output is read, counted from 0; all in one forward pass"
    )
    saes: ByLayer | Tables = Field(
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
        return {int(layer): hub_id for layer, hub_id in default_saes("clip-b32-prisma").items()}


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
    saes: ByLayer | Tables = Field(
        min_length=1,
        json_schema_extra=PATH,
        description=SAES,
    )

    @model_validator(mode="after")
    def _blocks_only(self) -> VitOptions:
        if any(table.layer is None for table in self.tables.values()):
            raise ValueError(f"saes: hook '{EMBEDDING}' is read by clip-b32-prisma only")
        return self

    @property
    def crops_centre(self) -> bool:
        """Whether the centre is cut out."""
        if self.centre_crop is not None:
            return self.centre_crop
        return any(known is not None and known.centre_crop for known in (find(t.source) for t in self.tables.values()))
