"""Send a question to a service, retrying until it is answered or clearly will not be."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import Lock
from urllib.parse import quote

from saeviz.contract.context import Context
from saeviz.toolkit.bounded import EndlessError, within
from saeviz.toolkit.retrying import NotNowError, Pace, Retries, may_pass
from saeviz.toolkit.vlm.extras import may_be_schema, named
from saeviz.toolkit.vlm.meter import Meter
from saeviz.toolkit.vlm.options import VLMOptions
from saeviz.toolkit.vlm.prompt import printable
from saeviz.toolkit.vlm.service import AdaptableService, Extra, Question, Reply, Service, ServiceError
from saeviz.values.errors import ConfigError, PausedError
from saeviz.values.naming import Usage

LONGEST_WAIT = 120.0
"""In seconds. A service that asks for a longer wait has probably reached a daily limit."""
FIRST_WAIT = 1.0
BESIDES = 10.0
"""Seconds that a request may take beyond `timeout`: for loading the client library, connecting and sending pictures."""
FAILURES_IN_A_ROW = 3
"""Number of questions in a row without an answer after which the run stops asking."""
CONFLICT = 409
"""Sent by services that are at work on the same question."""


class UnansweredError(Exception):
    """The service could not answer one question; it may answer others."""


class _BusyError(NotNowError):
    def __init__(self, failure: ServiceError) -> None:
        super().__init__(failure.reason, failure.wait, is_for_all=failure.status == 429)
        self.failure = failure


class Asker:
    """Sends questions to a service: respects rate limit and budget, retries, and drops extras that it rejects.

    An extra that a server rejects is left out of all later questions as well.
    """

    def __init__(self, service: Service, options: VLMOptions, meter: Meter, context: Context) -> None:
        self._service, self._options, self._meter, self._context = service, options, meter, context
        self._pace = Pace(options.requests_per_minute)
        self._retries = Retries(options.max_retries + 1, FIRST_WAIT, LONGEST_WAIT, pace=self._pace)
        self._lock = Lock()
        self._in_a_row = 0
        self._extras = frozenset(service.extras if isinstance(service, AdaptableService) else ())
        self._refused: frozenset[Extra] = frozenset()

    def ask(self, question: Question, expected: Usage) -> Reply:
        """Send a question and return the reply, retrying as needed.

        Raises `UnansweredError` if the service cannot answer this question, `ConfigError` if it rejects the key or the
        model or redirects, and `PausedError` if the budget is used up or the service is unavailable. No message
        contains the key.
        """
        without = self._refused
        while True:
            try:
                return self._retries(partial(self._try, question, without, expected))
            except _BusyError as error:
                failure = error.failure
            except ServiceError as error:
                failure = error
            sent = self._extras - without
            extra = named(failure, sent)
            if extra is None:
                if Extra.SCHEMA in sent and may_be_schema(failure):
                    self._pace.wait()
                    guess = self._put(question, without | {Extra.SCHEMA}, expected)
                    if isinstance(guess, Reply):
                        return guess
                self._refuse_for_good(failure)
                raise self._give_up(failure)
            without |= {extra}

    def _try(self, question: Question, without: frozenset[Extra], expected: Usage) -> Reply:
        """The answer. Raises `_BusyError` where asking again may help, else `ServiceError`."""
        outcome = self._put(question, without, expected)
        if isinstance(outcome, Reply):
            return outcome
        if is_passing(outcome) and named(outcome, self._extras - without) is None:
            raise _BusyError(outcome)
        raise outcome

    def _put(self, question: Question, without: frozenset[Extra], expected: Usage) -> Reply | ServiceError:
        """Send one request. Extras left out of an answered request are left out of all later ones."""
        try:
            with self._meter.call(expected) as count:
                asked = partial(self._service.ask, replace(question, without=without))
                reply = within(self._options.timeout + BESIDES, asked)
                count(reply)
        except ServiceError as error:
            return error
        except EndlessError as error:
            return ServiceError(None, str(error))
        with self._lock:
            self._in_a_row = 0
            new, self._refused = without - self._refused, self._refused | without
        for extra in new:
            self._context.logger.info(
                "%s rejects %s; later requests are sent without it", self._service.name, extra.value
            )
        return self._safe(reply)

    def _safe(self, reply: Reply) -> Reply:
        """The reply with the key removed, in case the server echoes it."""
        text, refusal, model = map(self._without_key, (reply.text, reply.refusal, reply.model))
        return reply._replace(text=text, refusal=refusal, model=model)

    def _refuse_for_good(self, failure: ServiceError) -> None:
        name, reason, option = self._service.name, self._told(failure), self._context.option
        if failure.status is not None and 300 <= failure.status < 400:
            raise ConfigError(
                f"{option('base_url')}: {name}: {reason}; redirects are not followed, because the key would be "
                "sent to another address; give the final address"
            )
        if failure.status in (401, 403):
            raise ConfigError(f"{option('api_key')}: {name} rejects the key: {reason}")
        if failure.status == 404:
            raise ConfigError(
                f"{option('model')}: {name} has no model {self._options.model!r}, or {option('base_url')} is wrong: "
                f"{reason}"
            )
        if failure.status == 402:
            raise PausedError(f"{name} has suspended this account for now: {reason}")
        if failure.wait is not None and failure.wait > LONGEST_WAIT:
            raise PausedError(f"{name} asks to wait {failure.wait:.0f} seconds: {reason}")

    def _give_up(self, failure: ServiceError) -> Exception:
        name, reason = self._service.name, self._told(failure)
        if failure.status == 429:
            return PausedError(f"{name} accepts no more requests for now: {reason}; run again later")
        with self._lock:
            self._in_a_row += 1
            if self._in_a_row >= FAILURES_IN_A_ROW:
                return PausedError(f"{name} did not answer {self._in_a_row} requests in a row, the last: {reason}")
        return UnansweredError(f"{name} did not answer: {reason}")

    def _told(self, failure: ServiceError) -> str:
        status = f" (HTTP {failure.status})" if failure.status else ""
        return printable(self._without_key(failure.reason), 300) + status

    def _without_key(self, text: str) -> str:
        key = self._options.key()
        for secret in (key.get_secret_value(), quote(key.get_secret_value(), safe="")) if key else ():
            text = text.replace(secret, "***")
        return text


def is_passing(failure: ServiceError) -> bool:
    """Whether asking the same question again later may succeed."""
    return failure.status is None or failure.status == CONFLICT or may_pass(failure.status)
