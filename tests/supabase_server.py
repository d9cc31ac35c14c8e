"""As much of a Supabase project as saeviz uses, on loopback, in front of a real PostgreSQL.

The gateway checks the key, PostgREST's part turns a request into one statement and runs it in a transaction under the
role of the token, so that grants and row-level security are PostgreSQL's own; storage hands out files. What goes wrong
is told in the words and with the codes that the real services use.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jwt
import psycopg
from psycopg import sql

from saeviz.testing.loopback import Handler, Loopback

JWT_SECRET = "a secret of this project, at least thirty-two bytes"
ROLES = """
    do $$ begin
        if not exists (select from pg_roles where rolname = 'authenticator') then
            create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls;
            create role authenticator login noinherit;
            grant anon, authenticated, service_role to authenticator;
        end if;
    end $$;
    create schema auth;
    create function auth.uid() returns uuid language sql stable as $$
        select nullif(current_setting('request.jwt.claims', true)::json->>'sub', '')::uuid $$;
    grant usage on schema auth, public to anon, authenticated, service_role;
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
"""
MOST_ROWS = 1000
LARGEST_BODY, LONGEST_URL = 2 * 2**20, 8192
_OPERATORS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_STATUS = {"23503": 409, "23505": 409, "42883": 404, "57014": 500}


def token(role: str, **claims: Any) -> str:
    """A key or access token of the project."""
    return jwt.encode({"role": role, "iss": "supabase", **claims}, JWT_SECRET, algorithm="HS256")


class Fault:
    """An answer that is given once instead of the right one.

    With `done` the request is carried out before the answer gets lost. Status 0 closes the connection.
    """

    def __init__(self, status: int, body: str = "", *, done: bool = False, slow: float = 0, **headers: str) -> None:
        self.status, self.body, self.done, self.slow = status, body, done, slow
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class SupabaseServer:
    """A project at `url`; `keys` are what the gateway lets in. `faults` are answered first, one each."""

    def __init__(self, database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(ROLES)
        self.database_url = database_url
        self.keys = {role: token(role) for role in ("anon", "service_role")}
        self.files: dict[str, dict[str, bytes]] = {}
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str, int]] = []
        self.most_rows = MOST_ROWS
        self._pool = threading.local()
        self._server = Loopback(_handler_of(self))
        self.url = self._server.url

    def __enter__(self) -> SupabaseServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run as the owner of the database, as the SQL editor does."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def authenticator(self) -> psycopg.Connection[Any]:
        if not hasattr(self._pool, "connection"):
            self._pool.connection = psycopg.connect(self.database_url.replace("postgres:@", "authenticator:@"))
        return self._pool.connection


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, **body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _handler_of(server: SupabaseServer) -> type[Handler]:
    class Gateway(Handler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.body()
            server.requests.append((self.command, self.path, len(body)))
            fault = server.faults.popleft() if server.faults else None
            if fault is None or fault.done:
                status, answer = self.result(body)
            if fault is not None:
                threading.Event().wait(fault.slow)
                if not fault.status:
                    self.close_connection = True
                    return
                status, answer = fault.status, fault.body.encode()
            try:
                self.send_response(status)
                for name, value in (fault.headers if fault else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:  # the client has given up
                self.close_connection = True

        def result(self, body: bytes) -> tuple[int, bytes]:
            try:
                return 200, self.dispatch(body)
            except RefusedError as refused:
                return refused.status, json.dumps(refused.body).encode()

        def dispatch(self, body: bytes) -> bytes:
            if self.headers.get("apikey") not in server.keys.values():
                raise RefusedError(401, message="Invalid API key", hint="Double check your Supabase `anon` or key.")
            if len(body) > LARGEST_BODY or len(self.path) > LONGEST_URL:
                raise RefusedError(413 if body else 414, message="Payload too large")
            parts = urlsplit(self.path)
            if parts.path.startswith("/rest/v1/"):
                table = unquote(parts.path.removeprefix("/rest/v1/"))
                parameters = parse_qsl(parts.query, keep_blank_values=True)
                return _rest(server, self.command, table, parameters, dict(self.headers.items()), body)
            if parts.path.startswith("/storage/v1/object/"):
                bucket, _, name = unquote(parts.path.removeprefix("/storage/v1/object/")).partition("/")
                return _storage(server, bucket, name)
            raise RefusedError(404, message="no Route matched with those values")

    return Gateway


def _storage(server: SupabaseServer, bucket: str, name: str) -> bytes:
    if bucket not in server.files:
        raise RefusedError(400, statusCode="404", error="Bucket not found", message="Bucket not found")
    if name not in server.files[bucket]:
        raise RefusedError(400, statusCode="404", error="not_found", message="Object not found")
    return server.files[bucket][name]


def _claims(headers: dict[str, str]) -> dict[str, Any]:
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    try:
        claims: dict[str, Any] = jwt.decode(given.removeprefix("Bearer "), JWT_SECRET, algorithms=["HS256"])
    except jwt.ExpiredSignatureError:
        raise RefusedError(401, code="PGRST303", details=None, hint=None, message="JWT expired") from None
    except jwt.InvalidTokenError:
        raise RefusedError(
            401, code="PGRST301", details=None, hint=None, message="JWSError JWSInvalidSignature"
        ) from None
    return claims


def _rest(
    server: SupabaseServer,
    method: str,
    table: str,
    parameters: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
) -> bytes:
    claims = _claims(headers)
    prefer = next((value for name, value in headers.items() if name.lower() == "prefer"), "")
    statement, values = {"GET": _select, "POST": _insert, "DELETE": _delete}[method](
        table, parameters, prefer, body, server.most_rows
    )
    connection = server.authenticator()
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(claims["role"])))
            connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
            cursor = connection.execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        raise _refusal(error, table, str(claims["role"])) from None
    return json.dumps(row[0]).encode() if row and method == "GET" else b""


def _refusal(error: psycopg.Error, table: str, role: str) -> RefusedError:
    code = error.sqlstate or "XX000"
    if code == "42P01":
        message = f"Could not find the table 'public.{table}' in the schema cache"
        return RefusedError(404, code="PGRST205", details=None, hint=None, message=message)
    status = (401 if role == "anon" else 403) if code == "42501" else _STATUS.get(code, 400)
    diagnostics = error.diag
    return RefusedError(
        status,
        code=code,
        details=diagnostics.message_detail,
        hint=diagnostics.message_hint,
        message=diagnostics.message_primary or str(error),
    )


def _select(
    table: str, parameters: list[tuple[str, str]], _prefer: str, _body: bytes, most_rows: int
) -> tuple[sql.Composed, list[Any]]:
    given = dict(parameters)
    names = given.get("select", "*")
    columns = sql.SQL("*") if names == "*" else sql.SQL(", ").join(map(sql.Identifier, _listed(f"({names})")))
    where, values = _where(parameters)
    orders = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL("desc" if direction == "desc" else "asc"))
        for name, direction in (part.split(".")[:2] for part in given.get("order", "").split(",") if part)
    ]
    order = sql.SQL(" order by ") + sql.SQL(", ").join(orders) if orders else sql.SQL("")
    limit = min(int(given.get("limit", most_rows)), most_rows)
    statement = sql.SQL(
        "select coalesce(json_agg(t), '[]') from (select {} from public.{}{}{} limit {} offset {}) as t"
    ).format(columns, sql.Identifier(table), where, order, sql.Literal(limit), sql.Literal(int(given.get("offset", 0))))
    return statement, values


def _insert(
    table: str, parameters: list[tuple[str, str]], prefer: str, body: bytes, _most_rows: int
) -> tuple[sql.Composed, list[Any]]:
    given = dict(parameters)
    names = [name.strip('"') for name in given["columns"].split(",")]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    conflict = sql.SQL("")
    if "resolution=" in prefer:
        keys = sql.SQL(", ").join(map(sql.Identifier, given["on_conflict"].split(",")))
        updates = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names]
        merge = sql.SQL("update set ") + sql.SQL(", ").join(updates)
        action = merge if "merge-duplicates" in prefer else sql.SQL("nothing")
        conflict = sql.SQL(" on conflict ({}) do {}").format(keys, action)
    statement = sql.SQL(
        "insert into public.{0} ({1}) select {1} from json_populate_recordset(null::public.{0}, %s::json){2}"
    ).format(sql.Identifier(table), columns, conflict)
    return statement, [body.decode()]


def _delete(
    table: str, parameters: list[tuple[str, str]], _prefer: str, _body: bytes, _most_rows: int
) -> tuple[sql.Composed, list[Any]]:
    where, values = _where(parameters)
    return sql.SQL("delete from public.{}{}").format(sql.Identifier(table), where), values


def _where(parameters: list[tuple[str, str]]) -> tuple[sql.Composable, list[Any]]:
    conditions: list[sql.Composable] = []
    values: list[Any] = []
    for name, given in parameters:
        if name in {"select", "order", "limit", "offset", "columns", "on_conflict"}:
            continue
        operator, _, value = given.partition(".")
        column = sql.Identifier(name.strip('"'))
        if operator == "in":
            listed = list(_listed(value))
            conditions.append(
                sql.SQL("{} in ({})").format(column, sql.SQL(", ").join([sql.Placeholder()] * len(listed)))
            )
            values += listed
        else:
            conditions.append(sql.SQL("{} {} %s").format(column, sql.SQL(_OPERATORS[operator])))
            values.append(value)
    joined = sql.SQL(" where ") + sql.SQL(" and ").join(conditions) if conditions else sql.SQL("")
    return joined, values


def _listed(text: str) -> Iterator[str]:
    """The values of `(a,"b, c",d)`."""
    unquote_one: Callable[[str], str] = lambda found: re.sub(r"\\(.)", r"\1", found)  # noqa: E731
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|([^,]+)', text[1:-1]):
        yield unquote_one(match[1]) if match[1] is not None else match[2]
