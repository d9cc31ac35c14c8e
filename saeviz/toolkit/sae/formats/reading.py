"""Config files: JSON read, checked against a model, every mistake with its file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from saeviz.values.errors import DataError

Model = TypeVar("Model", bound=BaseModel)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `DataError` if it has none or cannot be read."""
    try:
        return parse_json(path.read_bytes(), path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def parse_json(text: bytes, path: Path) -> dict[str, Any]:
    """The object in the JSON text of the file `path`. Raises `DataError` if it has none."""
    try:
        found = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is not the config of an SAE: it does not hold a JSON object")
    return found


def is_model(path: Path) -> bool:
    """Whether the file is the config of a transformers model."""
    return path.name == "config.json" and {"model_type", "architectures"} <= read_json(path).keys()


def checked(model: type[Model], data: object, path: Path) -> Model:
    """The data as `model`. Raises `DataError` that names the file and every key that is missing or unknown."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DataError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        if detail["type"] == "missing":
            problems.append(f"the key {key!r} is missing, and a default would be a guess; add it")
        else:
            reason = detail["msg"].removeprefix("Value error, ")
            shown = f" (found {detail['input']!r:.60})" if key else ""
            problems.append(f"{key}: {reason}{shown}" if key else reason)
    return "; ".join(problems)
