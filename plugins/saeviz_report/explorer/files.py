"""Data that a page can read from disk: scripts that hand a JSON value over, or parts of the page itself."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
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


@dataclass
class SinglePage:
    """Gathers data files, to be parts of the page."""

    parts: list[str] = field(default_factory=list)

    def write(self, name: str, value: Any) -> None:
        """Add a part, which no browser runs: it is read as JSON."""
        self.parts.append(f'<script type="application/json" data-name={literal(name)}>{literal(value)}</script>\n')

    def page(self, html: str, style: str, scripts: str) -> str:
        """The page with all that it needs in it; its policy allows this style and these scripts and no others."""
        policy = (
            f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; script-src '{_hash(scripts)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        head, _, rest = html.partition("<link rel")
        body, _, end = rest.partition("<script src")
        head = re.sub(r'(?<=Policy" content=")[^"]*', policy, head)
        body = body.partition(">\n")[2]
        end = end.rpartition("</script>")[2]
        return f"{head}<style>{style}</style>\n{body}{''.join(self.parts)}<script>{scripts}</script>{end}"


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
