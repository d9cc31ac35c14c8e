"""The contract of labelers, and what this one is about, with a stand-in for Ollama that sees colours."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import saeviz_ollama
from PIL import Image
from saeviz_ollama import OllamaOptions, ollama

import saeviz
from saeviz.testing import LabelerContract, run_with
from saeviz.testing.data import label_request, pictures
from saeviz.testing.fakes import COLOURS
from saeviz.testing.loopback import Handler, Loopback
from saeviz.testing.vlm_server import has_colour
from saeviz.toolkit.vlm import VLMLabeler


class Server(Handler):
    """Answers as Ollama does; the label is the colour in most pictures, and a judge tells colours."""

    asked: list[dict[str, Any]]

    def answer(self) -> None:
        """`/api/chat`."""
        body = json.loads(self.body())
        self.asked.append(body)
        if body["model"] != "eyes":
            return self.say(404, {"error": f"model '{body['model']}' not found"})
        encoded = [picture for message in body["messages"] for picture in message.get("images", ())]
        pictures = [Image.open(BytesIO(b64decode(picture))) for picture in encoded]
        text = " ".join(message["content"] for message in body["messages"][1:])
        if "The words: " in text:
            words = text.split('"')[1]
            found = [{"image": n, "applies": has_colour(words, one)} for n, one in enumerate(pictures, start=1)]
            answer: dict[str, Any] = {"answers": found}
        else:
            best = max(COLOURS, key=lambda name: sum(has_colour(name, picture) for picture in pictures))
            answer = {"label": f"{best} rectangles", "description": "One colour.", "visual_elements": [best]}
            answer |= {"why": "", "confidence": 0.9}
        message = {"role": "assistant", "content": json.dumps(answer)}
        reply = {"model": "eyes", "message": message, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 5}
        return self.say(200, reply)

    def say(self, status: int, body: dict[str, Any]) -> None:
        """An answer as JSON."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """What the stand-in is asked."""
    return []


@pytest.fixture
def options(asked: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Options for the stand-in, on a free port of this machine."""
    with Loopback(Server, asked=asked) as server:
        yield {"base_url": server.url, "model": "eyes", "max_retries": 0}


class TestOllama(LabelerContract):
    """All that saeviz expects of a labeler."""

    component = VLMLabeler

    @pytest.fixture
    def make(self, options: dict[str, Any]) -> Callable[[saeviz.Context], saeviz.Labeler]:
        """How the suite builds it."""
        return lambda context: ollama(OllamaOptions(**options), context)


def test_each_picture_comes_with_its_caption_and_the_answer_with_a_schema(
    asked: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    """Ollama has text and pictures apart, so each caption is a message of its own."""
    label = ollama(OllamaOptions(**options), saeviz.Context()).label(label_request(pictures(8)))
    body = asked[-1]
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
