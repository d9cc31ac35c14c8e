"""Describe mistakes in options: where they are, what is wrong, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError

from saeviz.contract.options import Options, secret_fields, table_of
from saeviz.formats.plain import one_line, quoted, shortened

LONGEST_WORD = 100
"""Maximum length of a word for which similar ones are suggested."""


def explain(error: ValidationError, model: type[Options], place: str) -> list[str]:
    """A line per mistake: the place, what is wrong, and a suggestion for a misspelt name.

    The value of a secret is not quoted.
    """
    lines = []
    secrets = {(name,) for name in secret_fields(model)}
    for mistake in error.errors():
        where = ".".join([place, *(shortened(str(part)) for part in mistake["loc"])])
        if mistake["type"] == "extra_forbidden":
            names = list(_model_at(mistake["loc"], model).model_fields)
            known = [*names, "use"] if len(mistake["loc"]) == 1 else names
            hint = suggest(str(mistake["loc"][-1]), known) or f"; there are: {', '.join(names) or 'none'}"
            lines.append(f"{where}: unknown option{hint}")
        else:
            message = mistake["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
            message = message.replace("Input is not a valid path for <class 'pathlib.Path'>", "Input should be a path")
            silent = mistake["type"] in {"missing", "value_error"} or mistake["loc"][:1] in secrets
            given = "" if silent else f", not {quoted(mistake['input'])}"
            lines.append(f"{where}: {one_line(message[:1].lower() + message[1:])}{given}")
    return lines


def _model_at(loc: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """The model of the table that a mistake is in: the options themselves, or a table that one of them lists."""
    field = model.model_fields.get(str(loc[0])) if len(loc) > 1 else None
    return (field and table_of(field)) or model


def suggest(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(word[:LONGEST_WORD], list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
