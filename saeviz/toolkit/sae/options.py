"""The options of extractors with SAEs: which SAEs, where each reads, at which tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_serializer,
    model_validator,
)

from saeviz.formats.plain import quoted
from saeviz.toolkit.engine import EngineOptions
from saeviz.values.features import FeatureSpace, Layer, Tokens, layer_of

logger = logging.getLogger("saeviz")
Block = Annotated[int, Field(ge=0, le=1000)]


def _block_or_stage(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(layer_of(given) if isinstance(given, str) else given)
    except ValidationError as error:
        raise ValueError(
            f"{quoted(given)} is not a layer; give the number of a block, 0 to 1000, or the name of a stage, such as "
            "'stage3' (lower-case letters, digits and hyphens)"
        ) from error


Stage = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,63}$")]
SomeLayer = Annotated[Block | Stage, WrapValidator(_block_or_stage)]
"""A block, counted from 0, or the name of a stage where a model has no numbered blocks."""
PATH: dict[str, JsonValue] = {"path": True}
SOURCE = (
    "a short name that `saeviz plugins` lists, a hub id (owner/repository or owner/repository:folder), "
    "a folder with the files of a known format, or a weights file beside its config"
)
SAES = (
    f"SAE per layer: {SOURCE}; or, for several SAEs of a layer and other hook points, tables [[extractor.saes]] "
    "([[extractors.saes]] in a run with several extractors)"
)
EMBEDDING = "embedding"
"""Stage and hook of an SAE that reads the image embedding of the whole model; its one token is IMAGE."""
IMAGE = "image"


Hook = Literal["resid_post", "mlp_out", "attn_out", "embedding"]


class HookPoint(NamedTuple):
    """A place in a model where activations are read, by the names of TransformerLens and ViT-Prisma.

    `resid_post` is the output of block or stage `layer`, `mlp_out` and `attn_out` are what its MLP and its attention
    add to the residual stream. `embedding` is the image embedding of the whole model, which belongs to no layer.
    """

    layer: Layer | None
    hook: Hook = "resid_post"


class SAETable(BaseModel):
    """A table of `[[extractor.saes]]`: an SAE, and where in the model it reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: str | Path = Field(json_schema_extra=PATH, description=SOURCE)
    layer: SomeLayer | None = Field(default=None, description="block, counted from 0; none for the embedding")
    hook: Hook = Field(
        default="resid_post",
        description="resid_post (what the block gives), mlp_out or attn_out (what its MLP or its attention adds), or "
        "embedding (the image embedding of CLIP)",
    )
    name: str = Field(
        default="",
        pattern="^([a-z][a-z0-9-]{0,63})?$",
        description="in front of its spaces, mlp.layer7.cls; needed by all but one of the SAEs of a layer",
    )
    tokens: tuple[Tokens, ...] = Field(
        default=(), description="as tokens of the extractor, for this SAE; default: those"
    )

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


ByLayer = dict[SomeLayer, str | Path]
Tables = tuple[SAETable, ...]
BY_LAYER: TypeAdapter[ByLayer] = TypeAdapter(ByLayer)
TABLES: TypeAdapter[Tables] = TypeAdapter(Tables)


class SAEOptions(EngineOptions):
    """Options of an extractor with SAEs; the plugin's own derive from it."""

    saes: ByLayer | Tables = Field(min_length=1, json_schema_extra=PATH, description=SAES)
    tokens: tuple[Tokens, ...] = Field(
        default=("cls",),
        min_length=1,
        description="features of an image to store: cls (class token), patch-max or patch-mean "
        "(each feature pooled over the patches, after the SAE)",
    )
    precision: Literal["float32", "bfloat16"] | None = Field(
        default=None,
        description="precision of the vision model; default: that of the run. The SAEs always compute in float32",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="hub revision of the SAEs; default: the pinned one of a known SAE, otherwise main. A commit hash "
        "pins them (run.json records the one used)",
    )
    formula: Literal["published", "document"] = Field(
        default="published",
        description="published: act((x - b_dec) @ W_enc + b_enc), as the SAEs were trained; "
        "document: without the subtraction of b_dec",
    )
    allow_mismatch: bool = Field(
        default=False,
        description="accept SAEs trained on another model, layer, hook point, image size or kind of token",
    )

    patch_errors: bool = Field(
        default=False,
        description="also measure how much of the patches of each image the SAE misses, for spaces that pool patches; "
        "decoding them takes about two thirds as long as encoding them",
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

    @field_validator("tokens")
    @classmethod
    def _once(cls, tokens: tuple[Tokens, ...]) -> tuple[Tokens, ...]:
        return tuple(dict.fromkeys(tokens))

    @field_validator("saes", mode="wrap")
    @classmethod
    def _in_its_shape(cls, saes: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """By layer or as tables, so that mistakes are those of one shape."""
        return handler((TABLES if isinstance(saes, list | tuple) else BY_LAYER).validate_python(saes))

    @field_validator("saes")
    @classmethod
    def _sites_of_their_own(cls, saes: ByLayer | Tables) -> ByLayer | Tables:
        first: dict[int | str, int] = {}
        for number, table in enumerate(saes if isinstance(saes, tuple) else ()):
            if table.site in first:
                both = f"{first[table.site]} and {number}"
                raise ValueError(f"the tables {both} are both {table.title}; give one a name of its own")
            first[table.site] = number
        return saes

    @property
    def tables(self) -> dict[str, SAETable]:
        """The SAEs by their option, `saes.7`: as they are listed."""
        if isinstance(self.saes, tuple):
            return {f"saes.{number}": table for number, table in enumerate(self.saes)}
        return {f"saes.{layer}": SAETable(layer=layer, source=source) for layer, source in self.saes.items()}
