"""An endpoint below `/api`, declared once: its route, what its query may have, and what `openapi.json` says of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from saeviz.formats.plain import quoted

Schema = Mapping[str, Any]
"""A JSON schema."""
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}


def listed(schema: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": schema}


def fields(about: str = "", /, **of: Schema) -> Schema:
    """An object that has these fields, and may have others in a later version."""
    described = {"description": about} if about else {}
    return {"type": "object", "required": list(of), "properties": of, **described}


def maybe(schema: Schema) -> Schema:
    """One of these, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


PACKED = fields("An array: little-endian numbers of this kind (u1, u2, u4, f4 or f8) in base64.", kind=TEXT, data=TEXT)


class Query:
    """A part of the query: what it means, and which values it can have."""

    def __init__(self, name: str, meaning: str, schema: Schema = TEXT, *, required: bool = True) -> None:
        self.name, self.meaning, self.schema, self.required = name, meaning, schema, required

    def text(self, request: Request) -> str:
        """What the request has there; status 400 where it has nothing and has to."""
        found = request.query_params.get(self.name)
        if found is None and self.required:
            raise HTTPException(400, f"the query needs {self.name}={self.meaning}")
        return found or ""

    @property
    def parameter(self) -> Schema:
        """As OpenAPI writes it."""
        return {
            "name": self.name,
            "in": "query",
            "description": self.meaning,
            "required": self.required,
            "schema": self.schema,
        }


class Whole(Query):
    """A whole number within bounds."""

    def __init__(self, name: str, meaning: str, *, otherwise: int, least: int, most: int) -> None:
        schema = {"type": "integer", "minimum": least, "maximum": most, "default": otherwise}
        super().__init__(name, meaning, schema, required=False)

    def number(self, request: Request) -> int:
        """What the request has there; status 400 where it is no whole number, or out of bounds."""
        least, most = self.schema["minimum"], self.schema["maximum"]
        text = request.query_params.get(self.name, str(self.schema["default"]))
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
            raise HTTPException(400, f"{self.name}={quoted(text)} is not a whole number from {least} to {most}")
        return int(text)


class Share(Query):
    """A number from 0 to 1, which has to be there."""

    def __init__(self, name: str, meaning: str) -> None:
        super().__init__(name, meaning, {"type": "number", "minimum": 0, "maximum": 1})

    def number(self, request: Request) -> float:
        """What the request has there; status 400 where it is no number from 0 to 1."""
        text = self.text(request)
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise HTTPException(400, f"{self.name}={quoted(text)} is not a number from 0 to 1")
        return value


class Endpoint(Route):
    """A route; of its query only the parts that are declared are taken.

    `answer` is the schema of the JSON that it answers, or the media type of a file. `body` has a schema by media type.
    """

    def __init__(
        self,
        path: str,
        handler: Callable[[Request], Awaitable[Response]],
        summary: str,
        *,
        answer: Schema | str,
        query: Sequence[Query] = (),
        method: str = "GET",
        body: Mapping[str, Schema] | None = None,
    ) -> None:
        known = [one.name for one in query]

        async def checked(request: Request) -> Response:
            if unknown := [name for name in request.query_params if name not in known]:
                there_are = f"it can have {', '.join(known)}" if known else "it can have nothing"
                raise HTTPException(400, f"there is nothing called {quoted(unknown[0])} in this query: {there_are}")
            return await handler(request)

        super().__init__(path, checked, methods=[method])
        self.method, self.summary, self.query, self.answer, self.body = method, summary, query, answer, body

    def operation(self) -> dict[str, Any]:
        """As OpenAPI describes it."""
        answer = self.answer
        content = {answer: {}} if isinstance(answer, str) else {"application/json": {"schema": answer}}
        failed = {"description": "Why not, in one sentence.", "content": {"application/json": {"schema": _ERROR}}}
        described: dict[str, Any] = {
            "summary": self.summary,
            "operationId": f"{self.method.lower()}_{re.sub(r'[^a-z]', '_', self.path.removeprefix('/api/'))}",
            "parameters": [one.parameter for one in self.query],
            "responses": {"200": {"description": "The answer.", "content": content}, "default": failed},
        }
        if self.body is not None:
            described["requestBody"] = {
                "required": True,
                "content": {kind: {"schema": schema} for kind, schema in self.body.items()},
            }
        return described


_ERROR = fields(error=TEXT)
