"""A stand-in for web services with vision-language models, for tests of labelers: it sees colours, and needs no model.

It speaks the protocols of Gemini, OpenAI and Anthropic on loopback::

    with VLMServer() as server:
        labeler = MyLabeler(MyOptions(base_url=server.url("openai"), api_key=KEY), saeviz.Context())
        assert labeler.label(label_request(pictures(24))).label == "red things"

Asked for a name, it gives the colour that stands out in the most pictures; asked whether words apply, it looks for the
colours among them. `script` lists other answers, which come first: errors, refusals, nonsense. `asked` has the
questions, which are checked against the documented form of each service.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.testing.fakes import COLOURS
from saeviz.testing.loopback import Handler, Loopback

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "sk-very-secret-0123456789"
GOOD = {
    "label": "red rectangles",
    "description": "A red rectangle on grey.",
    "visual_elements": ["rectangle", "grey ground"],
    "why": "Red is warm.",
    "confidence": 0.8,
}
IN, OUT = 1000, 90
"""Tokens that every answer is said to have cost."""


@dataclass(frozen=True)
class Asked:
    """A question as it came in, in whichever protocol."""

    api: str
    model: str
    key: str
    texts: list[str]
    jpegs: list[bytes]
    body: dict[str, Any]
    at: float

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def is_for_judge(self) -> bool:
        return any(text.startswith("The words: ") for text in self.texts)

    def words(self) -> str:
        """The label that is to be judged."""
        return next(text.split('"')[1] for text in self.texts if text.startswith("The words: "))

    def pictures(self) -> list[Image]:
        from PIL import Image

        return [Image.open(BytesIO(jpeg)) for jpeg in self.jpegs]


@dataclass(frozen=True)
class Response:
    """What the server does: after `seconds`, this status and body.

    Of a body that `is_cut` it sends only a part; where it `resets`, nothing at all.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    is_cut: bool = False
    resets: bool = False


Act = Callable[[Asked], Response]
NEAR = 90
"""Up to which distance of its channels a pixel has a colour."""


def judges(applies: Callable[[str, Image], float]) -> Act:
    """An answer to a question of a judge: `applies` of the words and each picture."""

    def act(asked: Asked) -> Response:
        words = asked.words()
        entries = [
            {"image": number, "applies": applies(words, picture)}
            for number, picture in enumerate(asked.pictures(), start=1)
        ]
        return says(json.dumps({"answers": entries}))(asked)

    return act


def has_colour(words: str, picture: Image) -> float:
    """Whether one of the words is a colour that stands out in a picture of `FakeImages`."""
    import numpy as np

    pixels = np.asarray(picture.convert("RGB").resize((8, 8)), dtype=int).reshape(-1, 1, 3)
    wanted = [rgb for name, rgb in COLOURS.items() if name in words.lower().split()]
    return float((np.abs(pixels - np.array(wanted).reshape(1, -1, 3)).sum(axis=2) < NEAR).any())


def sees_colours(asked: Asked) -> Response:
    """The answer of a model that sees nothing but colours."""
    if asked.is_for_judge():
        return judges(has_colour)(asked)
    seen = Counter(name for picture in asked.pictures() for name in COLOURS if has_colour(name, picture))
    colour, n = max(sorted(seen.items()), key=lambda entry: entry[1], default=("grey", 0))
    share = n / max(len(asked.jpegs), 1)
    act = says(label=f"{colour} things", description=f"Pictures in which {colour} stands out.", confidence=share)
    return act(asked)


def says(text: str | None = None, *, finish: str = "done", **changes: Any) -> Act:
    """An answer: `text`, or a good one, with some fields of a name changed. `finish`: done, cut off, blocked."""
    content = json.dumps({**GOOD, **changes}) if text is None else text

    def act(asked: Asked) -> Response:
        if text is None and finish == "done" and asked.is_for_judge():
            return judges(has_colour)(asked)
        return Response(ANSWERS[asked.api](content, finish))

    return act


def _gemini(text: str, finish: str) -> dict[str, Any]:
    usage = {"promptTokenCount": IN, "candidatesTokenCount": OUT - 40, "totalTokenCount": IN + OUT}
    reason = {"done": "STOP", "cut off": "MAX_TOKENS", "blocked": "SAFETY"}[finish]
    content = {} if finish == "blocked" else {"content": {"parts": [{"text": text}], "role": "model"}}
    return {
        "candidates": [{**content, "finishReason": reason, "index": 0}],
        "usageMetadata": {**usage, "thoughtsTokenCount": 40},
        "modelVersion": "gemini-3-flash-002",
    }


def _openai(text: str, finish: str) -> dict[str, Any]:
    reason = {"done": "stop", "cut off": "length", "blocked": "stop"}[finish]
    refusal = "I can't help with that." if finish == "blocked" else None
    message = {"role": "assistant", "content": None if refusal else text, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-5.4-mini-2026-03-17",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT},
    }


def _anthropic(text: str, finish: str) -> dict[str, Any]:
    reason = {"done": "end_turn", "cut off": "max_tokens", "blocked": "refusal"}[finish]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [] if finish == "blocked" else [{"type": "text", "text": text}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": IN, "output_tokens": OUT},
    }


ANSWERS = {"gemini": _gemini, "openai": _openai, "anthropic": _anthropic}


def fails(status: int, message: str = "it went wrong", kind: str = "", **headers: str) -> Act:
    """An error in the form in which each service documents it; `kind` is its own word for what is wrong."""

    def act(asked: Asked) -> Response:
        bodies = {
            "gemini": {"error": {"code": status, "message": message, "status": kind or "UNKNOWN"}},
            "openai": {"error": {"message": message, "type": "error", "param": None, "code": kind or None}},
            "anthropic": {"type": "error", "error": {"type": kind or "api_error", "message": message}},
        }
        return Response(bodies[asked.api], status, {name.replace("_", "-"): text for name, text in headers.items()})

    return act


def sends(body: Any, **how: Any) -> Act:
    """Any response at all."""
    return lambda _: Response(body, **how)


def refuses_key(asked: Asked) -> Response:
    """Each service's own way to say that a key is wrong; like OpenAI it quotes the key, and unlike it the whole key."""
    if asked.api != "gemini":
        return fails(401, f"Incorrect API key provided: {asked.key}", "invalid_api_key")(asked)
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    message = f"API key not valid. Please pass a valid API key. ({asked.key})"
    error = {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": [detail]}
    return Response({"error": error}, 400)


class VLMServer:
    """On loopback, in threads of its own. `script` is what it does next; `asked` is what it was asked.

    At the end of the script it answers as `otherwise`. `most_at_once` is the largest number of calls at the same time.
    """

    def __init__(self, certificate: Path | None = None, otherwise: Act | None = None) -> None:
        self.script: list[Act] = []
        self.otherwise = otherwise or sees_colours
        self.asked: list[Asked] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self._scheme = "https" if certificate else "http"
        self._server = Loopback(_Handler, certificate=certificate, server_state=self)

    def url(self, api: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.port}" + ("/v1" if api == "openai" else "")

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> VLMServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def response_to(self, asked: Asked) -> Response:
        with self.lock:
            self.asked.append(asked)
            act = self.script.pop(0) if self.script else self.otherwise
        return refuses_key(asked) if asked.key != KEY else act(asked)


class _Handler(Handler):
    server_state: VLMServer

    def answer(self) -> None:
        state = self.server_state
        raw = self.body()
        with state.lock:
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
        try:
            response = self._response(raw)
            time.sleep(response.seconds)
        finally:
            with state.lock:
                state.at_once -= 1
        self._send(response)

    def _response(self, raw: bytes) -> Response:
        try:
            asked = self._understand(json.loads(raw))
        except (KeyError, ValueError, TypeError, AssertionError) as error:
            return Response(
                {"error": {"code": 400, "message": f"undocumented request: {type(error).__name__}: {error}"}}, 400
            )
        return self.server_state.response_to(asked)

    def _understand(self, body: dict[str, Any]) -> Asked:
        key = self.headers.get("x-goog-api-key") or self.headers.get("x-api-key")
        key = key or self.headers.get("authorization", "").removeprefix("Bearer ")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/v1(?:beta)?/models/([^:]+):generateContent", path):
            return self._understand_gemini(found[1], key, body)
        if path == "/v1/chat/completions":
            return self._understand_openai(key, body)
        assert path == "/v1/messages", f"the path {path} is of none of the three services"
        version = self.headers["anthropic-version"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", version), f"anthropic-version is {version!r}, not a date"
        return self._understand_anthropic(key, body)

    def _understand_gemini(self, model: str, key: str, body: dict[str, Any]) -> Asked:
        (content,) = body["contents"]
        assert content["role"] == "user", f"the role is {content['role']!r}, not 'user'"
        parts = content["parts"]
        data = [part["inlineData"] for part in parts if "inlineData" in part]
        # JSON of protocol buffers may write names in either style and base64 in either alphabet
        kinds = {one.get("mimeType", one.get("mime_type")) for one in data}
        assert kinds <= {"image/jpeg"}, f"pictures are {kinds}, not image/jpeg"
        jpegs = [b64decode(one["data"].replace("-", "+").replace("_", "/"), validate=True) for one in data]
        config = body["generationConfig"]
        kind = config["responseMimeType"]
        assert kind == "application/json", f"responseMimeType is {kind!r}, not 'application/json'"
        assert config.get("responseJsonSchema") or config["responseSchema"], "the schema of the answer is empty"
        texts = [part["text"] for part in [*body["systemInstruction"]["parts"], *parts] if "text" in part]
        return Asked("gemini", model, key, texts, jpegs, body, time.monotonic())

    def _understand_openai(self, key: str, body: dict[str, Any]) -> Asked:
        system, user = body["messages"]
        roles = system["role"], user["role"]
        assert roles == ("system", "user"), f"the roles of messages are {roles}, not ('system', 'user')"
        urls = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
        texts = [system["content"], *(part["text"] for part in user["content"] if part["type"] == "text")]
        jpegs = [b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True) for url in urls]
        if "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]
            assert schema["additionalProperties"] is False, "additionalProperties of the schema is not false"
            optional = set(schema["properties"]) ^ set(schema["required"])
            assert not optional, f"the schema must require its properties, all of them: {optional}"
        return Asked("openai", body["model"], key, texts, jpegs, body, time.monotonic())

    def _understand_anthropic(self, key: str, body: dict[str, Any]) -> Asked:
        (user,) = body["messages"]
        assert user["role"] == "user", f"the role is {user['role']!r}, not 'user'"
        assert body["max_tokens"] > 0, f"max_tokens is {body['max_tokens']}, not above 0"
        kind = body["output_config"]["format"]["type"]
        assert kind == "json_schema", f"the format of the answer is {kind!r}, not 'json_schema'"
        sources = [part["source"] for part in user["content"] if part["type"] == "image"]
        kinds = {(one["type"], one["media_type"]) for one in sources}
        assert kinds <= {("base64", "image/jpeg")}, f"pictures are {kinds}, not image/jpeg in base64"
        texts = [body["system"], *(part["text"] for part in user["content"] if part["type"] == "text")]
        jpegs = [b64decode(one["data"], validate=True) for one in sources]
        return Asked("anthropic", body["model"], key, texts, jpegs, body, time.monotonic())

    def _send(self, response: Response) -> None:
        if response.resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            return
        is_raw = isinstance(response.body, bytes)
        data = response.body if is_raw else json.dumps(response.body).encode()
        try:
            self.send_response(response.status)
            self.send_header("Content-Type", "text/html" if is_raw else "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, text in response.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if response.is_cut else data)
        except OSError:  # the client has given up
            pass
