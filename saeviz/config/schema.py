"""The tables of a run file, and the validated configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, GetCoreSchemaHandler, field_validator
from pydantic_core.core_schema import CoreSchema, is_instance_schema, to_string_ser_schema

from saeviz.contract.context import Precision
from saeviz.contract.options import Options, neutral_fields, secret_fields
from saeviz.formats.objects import check_url, is_address

DEFAULT_USE = {
    "images": "folder",
    "extractor": "clip-b32-prisma",
    "store": "npz",
    "embeddings": "dinov2",
    "selector": "tiered",
    "executor": "local",
}
"""The default component of a table without `use`, or that is missing."""
OPTIONAL = ("embeddings", "second_embeddings", "labeler", "judge")
"""Tables that can be switched off with `use = "none"`."""
JUDGED_BY_ITSELF = "labeler"
"""The value of `use` in [judge] that means the run's own labeler."""
ROLE_OF = {"second_embeddings": "embeddings"}
"""Tables whose name differs from their role."""
EXTRACTORS = "extractors"
"""The table of several extractors, each with a name; a run has this or [extractor]."""
LISTS = {"scorers": ("scorer", ("monosemanticity", "pearson-bh", "redundancy")), "reporters": ("reporter", ("html",))}
"""Tables of several components: the role and the default components."""
SINGLE = ("images", "extractor", "store", "embeddings", "second_embeddings", "selector", "labeler", "executor")
"""Tables of one component; besides these there is [judge], which can refer to [labeler]."""
FEWEST_RATED = 10
"""Images for a correlation of a label's scores with a rating."""
TABLES = ("run", *SINGLE, EXTRACTORS, "judge", *LISTS, "plugins")


class Address(str):
    """The address of a folder in an object store."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Only what is one already: any other text is a path."""
        return is_instance_schema(cls, serialization=to_string_ser_schema())


class RunSettings(Options):
    """The table `[run]`."""

    dir: Path | Address | None = Field(
        None,
        description="run directory: a folder, or s3://BUCKET/FOLDER or gs://BUCKET/FOLDER for an object store",
        json_schema_extra={"path": True},
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    precision: Precision = Field("float32", description="precision of the models: float32 or bfloat16")
    seed: int = Field(0, description="random seed", ge=0, le=4_294_967_295)
    offline: bool = Field(False, description="do not use the network")
    top_images: int = Field(20, description="number of most activating images to list for each feature", ge=1, le=1000)
    judge_images: int = Field(
        24,
        description="number of held-out images on which a label is judged; the feature fires on half of them",
        ge=10,
        le=1000,
    )
    rating_images: int = Field(
        0,
        description="number of held-out images on which the judge's scores of a label are correlated with the ratings; "
        "0 for none, else at least 10",
        ge=0,
        le=1_000_000,
    )
    cache: bool = Field(
        True, description="share features and embeddings with other runs over the same images; see `saeviz cache`"
    )
    cache_dir: Path | None = Field(
        None,
        description="folder of the shared cache; default: ~/.cache/saeviz",
        json_schema_extra={"path": True},
    )

    @field_validator("dir", mode="before")
    @classmethod
    def _is_address(cls, given: Any) -> Any:
        return Address(check_url(given)) if is_address(given) else given

    @field_validator("rating_images")
    @classmethod
    def _suffices(cls, given: int) -> int:
        if 0 < given < FEWEST_RATED:
            raise ValueError(f"{given} images are too few for a correlation; at least {FEWEST_RATED}, or 0 for none")
        return given


@dataclass(frozen=True)
class ComponentConfig:
    """One component of a run with its validated options.

    `place` is its table in the run file; `secrets` maps options to the environment variables that they were read from.

    `name` is the prefix of the columns of a scorer, or of the spaces of one of several extractors; '' if there is none.
    """

    role: str
    place: str
    use: str
    options: Options
    secrets: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def identity(self) -> dict[str, Any]:
        """What the component's results depend on: `as_json` without neutral options."""
        neutral = neutral_fields(type(self.options))
        return {name: value for name, value in self.as_json().items() if name not in neutral}

    def is_recorded_as(self, identity: object) -> bool:
        """Whether an identity that was written down is this one; it may lack options, now None, that came later."""
        if not isinstance(identity, Mapping):
            return False
        own = self.identity().items()
        return {name: value for name, value in own if value is not None or name in identity} == dict(identity)

    def as_json(self) -> dict[str, Any]:
        """The component as in a run file; a secret is given as the name of its environment variable."""
        options = self.options.model_dump(mode="json", exclude=set(secret_fields(type(self.options))))
        named = {"name": self.name} if self.name else {}
        return {"use": self.use, **named, **options, **{name: {"env": env} for name, env in self.secrets.items()}}


@dataclass(frozen=True)
class RunConfig:
    """The validated configuration of a run. `judge` is the same object as `labeler` if that judges its own labels."""

    run: RunSettings
    images: ComponentConfig
    extractors: tuple[ComponentConfig, ...]
    store: ComponentConfig
    embeddings: ComponentConfig | None
    second_embeddings: ComponentConfig | None
    scorers: tuple[ComponentConfig, ...]
    selector: ComponentConfig
    labeler: ComponentConfig | None
    judge: ComponentConfig | None
    reporters: tuple[ComponentConfig, ...]
    executor: ComponentConfig

    @property
    def extractor(self) -> ComponentConfig:
        """The extractor, or the first of several."""
        return self.extractors[0]

    @property
    def has_named_extractors(self) -> bool:
        """Whether the run has the table [[extractors]], so that its spaces have names."""
        return bool(self.extractor.name)

    @property
    def extractors_in_words(self) -> str:
        """For messages about what none of them can do: `the extractor clip`, `the extractors text and mlp`."""
        *others, last = [one.name or one.use for one in self.extractors]
        return f"the extractors {', '.join(others)} and {last}" if others else f"the extractor {last}"

    def component(self, table: str) -> ComponentConfig | None:
        """The configuration of a table of one component, None if there is none."""
        found: ComponentConfig | None = getattr(self, table)
        return found

    def components(self) -> Iterator[ComponentConfig]:
        """All components, each once."""
        for table in SINGLE:
            if table == "extractor":
                yield from self.extractors
            elif (config := self.component(table)) is not None:
                yield config
        if self.judge is not None and self.judge is not self.labeler:
            yield self.judge
        yield from self.scorers
        yield from self.reporters

    def as_json(self) -> dict[str, Any]:
        """The resolved configuration as a run file, without secrets; `resolve` can read it."""
        tables: dict[str, Any] = {"run": self.run.model_dump(mode="json")}
        for table in SINGLE:
            config = self.component(table)
            tables[table] = config.as_json() if config else {"use": "none"}
        if self.has_named_extractors:
            del tables["extractor"]
            tables[EXTRACTORS] = [config.as_json() for config in self.extractors]
        tables["judge"] = self._judge_as_json()
        tables["scorers"] = [config.as_json() for config in self.scorers]
        tables["reporters"] = [config.as_json() for config in self.reporters]
        return tables

    def _judge_as_json(self) -> dict[str, Any]:
        if self.judge is None:
            return {"use": "none"}
        return {"use": JUDGED_BY_ITSELF} if self.judge is self.labeler else self.judge.as_json()
