"""A stand-in for the Hugging Face hub: serves the folders of a directory.

`Loopback(Hub, root=ROOT)`: the file `ROOT/owner/name/file` is `file` of the repository `owner/name`, whose only
commit is `COMMIT`, reachable as `main` and as itself; `/api/models/owner/name/tree/REVISION` lists its files. Where
there is a file `answer.json`, the repository answers with the `status` and `headers` that it has.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from saeviz.testing.loopback import Handler

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub(Handler):
    root: Path

    def answer(self) -> None:
        if self.path.startswith("/api/models/"):
            return self.listing()
        owner, name, _, revision, file = (*self.path.strip("/").split("/", 4), *[""] * 5)[:5]
        repository = self.root / owner / name
        if (repository / "answer.json").is_file():
            refusal = json.loads((repository / "answer.json").read_text())
            return self.send(refusal["status"], headers=refusal["headers"])
        problem = (
            "RepoNotFound"
            if not repository.is_dir()
            else "RevisionNotFound"
            if revision not in ("main", COMMIT)
            else "EntryNotFound"
            if not (repository / file).is_file()
            else ""
        )
        if problem:
            return self.send(404, headers={"X-Repo-Commit": COMMIT, "X-Error-Code": problem})
        content = (repository / file).read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.send(200, content, {"X-Repo-Commit": COMMIT, "ETag": etag})

    def listing(self) -> None:
        owner, name, kind, revision = (*self.path.split("?")[0].split("/")[3:], *[""] * 4)[:4]
        repository = self.root / owner / name
        known = repository.is_dir() and kind == "tree" and revision in ("main", COMMIT)
        paths = [path for path in sorted(repository.rglob("*")) if path.is_file()] if known else []
        entries = [
            {"type": "file", "path": path.relative_to(repository).as_posix(), "size": 1, "oid": "0" * 40}
            for path in paths
        ]
        self.send(200 if known else 404, json.dumps(entries).encode(), {"Content-Type": "application/json"})
