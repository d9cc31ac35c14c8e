"""A stand-in for the data sets of the Hugging Face hub: serves the folders of a directory.

`Loopback(Hub, root=ROOT)`: the files below `ROOT/owner/name` are those of the data set `owner/name`, whose only
commit is `COMMIT`, reachable as `main` and as itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from saeviz.testing.loopback import Handler

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub(Handler):
    root: Path

    def answer(self) -> None:
        asked = self.body().decode()
        paths = json.loads(asked)["paths"] if asked.startswith("{") else parse_qs(asked).get("paths", [])
        path = unquote(urlsplit(self.path).path).strip("/").replace(f"/{COMMIT}", "/main")
        match path.split("/"):
            case ["api", "datasets", owner, name] | ["api", "datasets", owner, name, "revision", "main"]:
                return self.info(f"{owner}/{name}")
            case ["api", "datasets", owner, name, "tree", "main", *folder]:
                top = self.root / owner / name
                return self.tree(top, sorted(top.joinpath(*folder).rglob("*")))
            case ["api", "datasets", owner, name, "paths-info", "main"]:
                top = self.root / owner / name
                return self.tree(top, [top / path for path in paths])
            case ["datasets", owner, name, "resolve", "main", *file]:
                return self.file((self.root / owner / name).joinpath(*file))
        return self.reply(404, b"", "EntryNotFound")

    def info(self, repo: str) -> None:
        folder = self.root / repo
        if not folder.is_dir():
            return self.reply(404, b"", "RepoNotFound")
        files = [{"rfilename": file.relative_to(folder).as_posix()} for file in folder.rglob("*") if file.is_file()]
        about = {"id": repo, "sha": COMMIT, "siblings": files, "private": False, "gated": False, "disabled": False}
        return self.reply(200, json.dumps({**about, "downloads": 0, "likes": 0, "tags": []}).encode())

    def tree(self, top: Path, paths: list[Path]) -> None:
        entries = [
            {"type": "directory", "path": path.relative_to(top).as_posix(), "oid": "0", "size": 0}
            if path.is_dir()
            else {
                "type": "file", "path": path.relative_to(top).as_posix(), "size": path.stat().st_size,
                "oid": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in paths
            if path.exists()
        ]  # fmt: skip
        return self.reply(200, json.dumps(entries).encode())

    def file(self, path: Path) -> None:
        if not path.is_file():
            return self.reply(404, b"", "EntryNotFound")
        content = path.read_bytes()
        about = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            return self.reply(200, content, **about)
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        about["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self.reply(206, content[first : last + 1], **about)

    def reply(self, status: int, body: bytes, problem: str = "", **headers: str) -> None:
        kind = "application/json" if self.path.startswith("/api") else "application/octet-stream"
        problems = {"X-Error-Code": problem} if problem else {}
        self.send(status, body, {"X-Repo-Commit": COMMIT, "Content-Type": kind, **headers, **problems})
