"""Data files that a page can read from disk: scripts that hand a JSON value over, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saeviz.toolkit.files import explain_disk_errors, remove_temporaries, write_atomic


def as_script(name: str, value: Any) -> str:
    """The script that hands `value` over under `name`."""
    return f"saeviz.receive({literal(name)}, {literal(value)});\n"


def literal(value: Any) -> str:
    """JSON that is also JavaScript, and that no text in it can end where it stands in a page."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


@dataclass
class DataFolder:
    """Writes data files below a folder and remembers which, so that those of an earlier report can go."""

    folder: Path
    written: set[Path] = field(default_factory=set)

    def write(self, name: str, value: Any) -> None:
        """Write `NAME.js`. Raises `RunDirError` if that cannot be done."""
        path = self.folder / f"{name}.js"
        write_atomic(path, as_script(name, value))
        self.written.add(path)

    def remove_others(self) -> None:
        """Remove the data files that this report did not write."""
        with explain_disk_errors(self.folder):
            for path in self.folder.rglob("*.js"):
                if path not in self.written:
                    path.unlink(missing_ok=True)
        for folder in {path.parent for path in self.written}:
            remove_temporaries(folder)


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
