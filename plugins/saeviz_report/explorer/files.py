"""Data that a page can read from disk: scripts that hand a JSON value over, or parts of the page itself."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from saeviz.toolkit.files import explain_disk_errors, remove_temporaries, sync_all

_CONTENT = "content-"


def as_script(name: str, value: Any) -> str:
    """The script that hands `value` over under `name`."""
    return f"saeviz.receive({literal(name)}, {literal(value)});\n"


def literal(value: Any) -> str:
    """JSON that is also JavaScript, and that no text in it can end where it stands in a page."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


class ContentFolder:
    """Writes viewer and data below `place` into a folder that is named by what is in it, once all of it is there.

    So the page that names the folder never shows a mixture, and an earlier page stays whole until it is replaced.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._new = place / f"{_CONTENT}{secrets.token_hex(8)}.part"
        self._files: list[Path] = []
        self._digest = sha256()

    def write(self, name: str, value: Any) -> None:
        """Write a data file. Raises `RunDirError` if that cannot be done."""
        self.add(f"data/{name}.js", as_script(name, value))

    def add(self, name: str, text: str) -> None:
        """Write a file as it is."""
        data = text.encode()
        path = self._new / name
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._files.append(Path(name))
        self._digest.update(f"{name}\0{len(data)}\0".encode() + data)

    def finish(self) -> Path:
        """Give the folder its name and return it. One that has it already holds the same: it is made whole again."""
        folder = self._place / f"{_CONTENT}{self._digest.hexdigest()[:16]}"
        with explain_disk_errors(folder):
            sync_all(self._new / name for name in self._files)
            for name in self._files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._new / name).replace(folder / name)
            if os.name != "nt":
                sync_all({self._place, folder, *((folder / name).parent for name in self._files)})
        return folder

    def remove_others(self, folder: Path) -> None:
        """Remove what earlier reports left, whole or not."""
        with explain_disk_errors(self._place):
            for other in self._place.glob(f"{_CONTENT}*"):
                if other.is_symlink():
                    other.unlink()
                elif other != folder:
                    shutil.rmtree(other)
        remove_temporaries(self._place)


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
        head, _, rest = html.partition('<link rel="stylesheet"')
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
