"""The contract of labelers, and what this one is about, with a stand-in for Ollama that sees colours."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import saeviz_ollama
from PIL import Image
from saeviz_ollama import OllamaOptions, ollama

import saeviz
from saeviz.testing import LabelerContract, run_with
from saeviz.testing.data import label_request, pictures
from saeviz.testing.fakes import COLOURS


def colour_of(picture: str) -> str:
    """The named colour that is in a picture of `saeviz.testing`: a rectangle on grey."""
    small = Image.open(BytesIO(b64decode(picture))).convert("RGB").resize((8, 8))
    pixels = [small.getpixel((x, y)) for x in range(8) for y in range(8)]
    return min(COLOURS, key=lambda name: min(math.dist(pixel, COLOURS[name]) for pixel in pixels))


class Handler(BaseHTTPRequestHandler):
    """Answers as Ollama does; the label is the most frequent colour, and a judge tells colours."""

    def do_POST(self) -> None:
        """`/api/chat`."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if body["model"] != "eyes":
            return self._send(404, {"error": f"model '{body['model']}' not found"})
        colours = [colour_of(picture) for message in body["messages"] for picture in message.get("images", ())]
        text = " ".join(message["content"] for message in body["messages"][1:])
        if "The words: " in text:
            words = text.split('"')[1].split()
            answer: Any = {"answers": [{"image": n, "applies": c in words} for n, c in enumerate(colours, start=1)]}
        else:
            best = Counter(colours).most_common(1)[0][0]
            answer = {"label": f"{best} rectangles", "description": "One colour.", "visual_elements": [best]}
            answer |= {"why": "", "confidence": colours.count(best) / len(colours)}
        message = {"role": "assistant", "content": json.dumps(answer)}
        reply = {"model": "eyes", "message": message, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 5}
        return self._send(200, reply)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    """The stand-in, on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.asked = []
        Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def options(server: ThreadingHTTPServer) -> dict[str, Any]:
    """Options for the stand-in."""
    return {"base_url": f"http://127.0.0.1:{server.server_port}", "model": "eyes", "max_retries": 0}


class TestOllama(LabelerContract):
    """All that saeviz expects of a labeler."""

    @pytest.fixture
    def make(self, options: dict[str, Any]) -> Callable[[saeviz.Context], saeviz.Labeler]:
        """How the suite builds it."""
        return lambda context: ollama(OllamaOptions(**options), context)


def test_each_picture_comes_with_its_caption_and_the_answer_with_a_schema(
    server: ThreadingHTTPServer, options: dict[str, Any]
) -> None:
    """Ollama has text and pictures apart, so each caption is a message of its own."""
    label = ollama(OllamaOptions(**options), saeviz.Context()).label(label_request(pictures(8)))
    body = server.asked[-1]
    assert [len(message.get("images", ())) for message in body["messages"]].count(1) == 4
    assert body["format"]["type"] == "object"
    assert body["options"] == {"temperature": 0, "seed": 0}
    assert label.details["model"] == "eyes"


def test_a_model_that_is_not_there_ends_in_a_sentence(options: dict[str, Any]) -> None:
    """As Ollama says it."""
    labeler = ollama(OllamaOptions(**{**options, "model": "blind"}), saeviz.Context())
    with pytest.raises(saeviz.SaevizError, match="model 'blind' not found"):
        labeler.label(label_request(pictures(8)))


def test_a_run_is_named_and_judged_without_a_network(options: dict[str, Any], tmp_path: Path) -> None:
    """The tiny run is offline, which a server on this machine does not mind."""
    run = run_with(saeviz_ollama, tmp_path / "run", settings=["judge.use=labeler"], **options)
    assert {label.label.split()[1] for label in run.labels.values()} == {"rectangles"}
    assert len(run.judgements) == len(run.labels)
