"""A stand-in for the Hugging Face hub: serves the folders of a directory and prints its port.

`python hub_server.py ROOT`: the file `ROOT/owner/name/file` is `file` of the repository `owner/name`, whose only
commit is `COMMIT`, reachable as `main` and as itself; `/api/models/owner/name/tree/REVISION` lists its files. Where
there is a file `answer.json`, the repository answers with the `status` and `headers` that it has.
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub(BaseHTTPRequestHandler):
    root: Path

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        if self.path.startswith("/api/models/"):
            return self.listing()
        owner, name, _, revision, file = (*self.path.strip("/").split("/", 4), *[""] * 5)[:5]
        repository = self.root / owner / name
        if (repository / "answer.json").is_file():
            return self.refuse(**json.loads((repository / "answer.json").read_text()))
        problem = (
            "RepoNotFound"
            if not repository.is_dir()
            else "RevisionNotFound"
            if revision not in ("main", COMMIT)
            else "EntryNotFound"
            if not (repository / file).is_file()
            else ""
        )
        content = b"" if problem else (repository / file).read_bytes()
        self.send_response(404 if problem else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        if problem:
            self.send_header("X-Error-Code", problem)
        else:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        return content

    def listing(self) -> bytes:
        owner, name, kind, revision = (*self.path.split("?")[0].split("/")[3:], *[""] * 4)[:4]
        repository = self.root / owner / name
        known = repository.is_dir() and kind == "tree" and revision in ("main", COMMIT)
        paths = [path for path in sorted(repository.rglob("*")) if path.is_file()] if known else []
        content = json.dumps(
            [
                {"type": "file", "path": path.relative_to(repository).as_posix(), "size": 1, "oid": "0" * 40}
                for path in paths
            ]
        ).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def refuse(self, status: int, headers: dict[str, str]) -> bytes:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        return b""

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Hub.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_port, flush=True)
    server.serve_forever()
