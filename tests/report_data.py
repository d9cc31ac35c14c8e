"""The data files of a report, read as any program may read them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


def unpack(packed: dict[str, Any]) -> Any:
    """The values of a column, as the viewer reads them."""
    if packed["kind"] == "text":
        return [packed["values"][code] for code in unpack(packed["codes"])]
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<{packed['kind']}")


@dataclass(frozen=True)
class Report:
    """The report in the folder `report` of a run directory."""

    folder: Path

    @cached_property
    def data(self) -> Path:
        """The folder of the data files that the page shows."""
        page = (self.folder / "index.html").read_text(encoding="utf-8")
        return self.folder / page.partition('<script src="')[2].partition("/")[0] / "data"

    def content(self, name: str) -> Any:
        """What a data file hands over, read as the JSON that it is."""
        text = (self.data / f"{name}.js").read_text(encoding="ascii")
        start = f"saeviz.receive({json.dumps(name)}, "
        assert text.startswith(start)
        assert text.endswith(");\n")
        return json.loads(text[len(start) : -3])

    @cached_property
    def run(self) -> dict[str, Any]:
        """What is said of the run as a whole."""
        found: dict[str, Any] = self.content("run")
        return found

    @cached_property
    def rating(self) -> dict[str, dict[str, Any]]:
        """What is said of each rating."""
        return {rating["name"]: rating for rating in self.run["ratings"]}

    @cached_property
    def reading(self) -> str:
        """How to read the numbers, and works to cite."""
        return "\n".join(": ".join(one) for one in [*self.run["reading"], *self.run["methods"]["citations"]])

    def column(self, name: str, rating: str | None = None) -> Any:
        """A column of the table of features."""
        heads = self.run["columns"]
        [number] = [at for at, head in enumerate(heads) if (head["name"], head["rating"]) == (name, rating)]
        return unpack(self.content(f"columns/{number}"))

    def columns(self, rating: str | None = None) -> list[str]:
        """The names of the columns about features, or about them and a rating."""
        return [head["name"] for head in self.run["columns"] if head["rating"] == rating]

    def row(self, feature: object) -> int:
        """The row of a feature, such as `layer11.cls/4711`."""
        space, _, index = str(feature).rpartition("/")
        start = 0
        for one in self.run["spaces"]:
            if one["name"] == space:
                return start + int(index)
            start += one["n"]
        raise KeyError(str(feature))

    def value(self, feature: object, name: str, rating: str | None = None) -> Any:
        """What a column says of a feature."""
        return self.column(name, rating)[self.row(feature)]

    def card(self, feature: object) -> dict[str, Any]:
        """What is said of a feature beyond its columns."""
        found: dict[str, Any] = self.content("labels").get(str(self.row(feature)), {})
        return found


def report_of(run: Any) -> Report:
    """The report of a run."""
    return Report(run.dir / "report")
