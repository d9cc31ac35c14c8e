"""The options of both extractors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from saeviz.toolkit.sae import default_saes, find
from saeviz.toolkit.sae.options import EMBEDDING, PATH, SAES, Block, ByLayer, SAEOptions, SAETable, Tables


class BlockOptions(SAEOptions):
    """Options of an extractor that reads numbered blocks."""

    layers: tuple[Block, ...]

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(layers)))

    @model_validator(mode="after")
    def _every_layer_has_an_sae(self) -> BlockOptions:
        named = [table.layer for table in self.saes] if isinstance(self.saes, tuple) else self.saes
        stages = [layer for layer in named if isinstance(layer, str)]
        if stages:
            raise ValueError(f"saes: the blocks of this model have numbers, so there is no layer {stages[0]!r}")
        if isinstance(self.saes, tuple):
            if self.layers != type(self).model_fields["layers"].default:
                raise ValueError("layers: each table of saes says its layer; remove layers")
            return self
        known = {**self.default_saes(), **self.saes}
        missing = [str(layer) for layer in self.layers if layer not in known]
        if missing:
            have = ", ".join(map(str, sorted(known, key=int))) or "none"
            raise ValueError(f"layers contains {', '.join(missing)}, for which saes names no SAE (it has {have})")
        return self

    def default_saes(self) -> Mapping[int | str, str]:
        """The SAEs of layers that `saes` leaves out."""
        return {}

    @property
    def tables(self) -> dict[str, SAETable]:
        """The SAEs asked for by their option, `saes.7`: in the order of the layers, or as they are listed."""
        if isinstance(self.saes, tuple):
            return super().tables
        known = {**self.default_saes(), **self.saes}
        layers = self.layers or sorted(known, key=int)
        return {f"saes.{layer}": SAETable(layer=layer, source=known[layer]) for layer in layers}


class ClipOptions(BlockOptions):
    """Options of `clip-b32-prisma`."""

    layers: tuple[Block, ...] = Field(
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

    def default_saes(self) -> Mapping[int | str, str]:
        """The published SAEs of layers 0 to 11."""
        return default_saes("clip-b32-prisma")


class VitOptions(BlockOptions):
    """Options of `vit-sae`."""

    model: str | Path = Field(
        json_schema_extra=PATH,
        description="hub id or folder of a transformers vision transformer, with its image processor",
    )
    model_revision: str = Field("main", min_length=1, description="hub revision of the model; a commit pins it")
    centre_crop: bool | None = Field(
        None,
        description="resize the picture by its short edge and crop the centre, instead of what the model's image "
        "processor does to make it square; default: true for known SAEs that were trained in this way",
    )
    layers: tuple[Block, ...] = Field(
        (), description="blocks whose output is read, counted from 0; default: those that saes names"
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
