"""The SAEs of saev (OSU NLP): one file `sae.pt`, a line of JSON and then what torch saved.

Followed are its headers without a `schema` (saev 0.1, whose forward pass subtracts b_dec) and the schemas 1 to 5, which
do not subtract it. The header says nothing about model, layer and tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field, PositiveInt

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_tensors
from saeviz.toolkit.sae.formats.reading import checked, parse_json
from saeviz.values.errors import DataError

CONFIG_NAMES: tuple[str, ...] = ("sae.pt",)
WEIGHTS_NAMES: tuple[str, ...] = CONFIG_NAMES
ARRAYS = ("W_enc", "b_enc", "W_dec", "b_dec")
THRESHOLD = "activation.threshold"
LONGEST_HEADER = 1 << 16


class Params(BaseModel):
    """Options of an activation."""

    top_k: PositiveInt | None = None


class Activation(BaseModel):
    """Which nonlinearity, by the name of its class."""

    cls: Literal["Relu", "TopK", "BatchTopK"]
    params: Params = Params()


class SaevConfig(BaseModel):
    """The keys of a header that decide what the numbers mean, by their names in schema 5."""

    d_model: PositiveInt
    d_sae: PositiveInt
    activation: Activation
    schema_number: int = Field(alias="schema", ge=0, le=5)

    @property
    def has_threshold(self) -> bool:
        """Since schema 3 BatchTopK uses a learnt threshold outside training; before, it was a plain top-k."""
        return self.activation.cls == "BatchTopK" and self.schema_number >= 3


class Header(NamedTuple):
    """The config, and where the arrays begin."""

    config: SaevConfig
    end: int


def claims(path: Path) -> bool:
    """A file that begins like a JSON object but does not have a JSON file's name."""
    if path.suffix == ".json":
        return False
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the key if something is missing, unknown or not supported."""
    config = _header(path).config
    top_k = config.activation.params.top_k
    if config.activation.cls != "Relu" and not 1 <= (top_k or 0) <= config.d_sae:
        raise DataError(f"{path}: activation.params.top_k must be 1 to {config.d_sae}")
    return SAEConfig(
        d_in=config.d_model,
        d_sae=config.d_sae,
        k=None if config.activation.cls == "Relu" or config.has_threshold else top_k,
        subtracts_b_dec=config.schema_number == 0,
    )


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` unless the file holds exactly the arrays that its header announces."""
    header = _header(path)
    tensors = read_tensors(path, start=header.end)
    names = (*ARRAYS, THRESHOLD) if header.config.has_threshold else ARRAYS
    expect_arrays(tensors, names, path, "an SAE of saev")
    threshold = tensors.pop(THRESHOLD, None)
    if threshold is not None:
        threshold = threshold.clamp(min=0).expand(header.config.d_sae)
    return SAEWeights(**tensors, threshold=threshold)


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_HEADER)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    found = parse_json(line, path)
    schema = found.get("schema", 0)
    config = found if schema == 0 else found.get("cfg", {})
    if isinstance(config, dict):
        config = {**_renamed(config), "schema": schema}
        config.setdefault("activation", _former_activation(found, config) if schema in (0, 1) else None)
    return Header(checked(SaevConfig, config, path), len(line))


def _renamed(config: dict[str, Any]) -> dict[str, Any]:
    """The sizes by the names that they have now."""
    new = dict(config)
    if "d_vit" in new:
        new.setdefault("d_model", new["d_vit"])
    if isinstance(new.get("d_model"), int) and isinstance(new.get("exp_factor"), int):
        new.setdefault("d_sae", new["d_model"] * new["exp_factor"])
    return new


def _former_activation(header: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Without a schema always ReLU; in the first files of schema 1 the class is in the header itself."""
    name = header.get("cls", "Relu")
    return {"cls": "Relu" if name == "SparseAutoencoderConfig" else name, "params": {"top_k": config.get("top_k")}}
