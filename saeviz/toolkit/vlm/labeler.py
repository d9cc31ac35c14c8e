"""The labeler shared by all web services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from saeviz.contract.roles import HeatmapExtractor
from saeviz.toolkit.vlm import judging, prompt
from saeviz.toolkit.vlm.answer import read_label
from saeviz.toolkit.vlm.asking import Asker, UnansweredError
from saeviz.toolkit.vlm.meter import Meter
from saeviz.toolkit.vlm.options import VLMOptions
from saeviz.toolkit.vlm.pictures import open_picture, prepare, with_heatmap
from saeviz.toolkit.vlm.service import Part, Question, Reply, Service
from saeviz.values.errors import ConfigError, LabelError, NoHeatmapError
from saeviz.values.naming import FeatureLabel, Usage

if TYPE_CHECKING:
    from PIL.Image import Image

    from saeviz.contract.context import Context
    from saeviz.typing import FloatArray
    from saeviz.values.features import Layer
    from saeviz.values.images import ImageItem
    from saeviz.values.naming import LabelRequest, TopImage

T = TypeVar("T")
Shown = tuple[tuple[int, "TopImage"], "Image"]
"""A top image with its rank (from 1), and its decoded picture."""
TRIES = 3
"""How often a question is asked if the answers cannot be used."""
LETTERS_PER_TOKEN = 4
LETTERS_OF_WORDS = 400
"""Assumed characters of a label, its description and the image captions, for estimates."""
OUTPUT_TOKENS = 500
"""Assumed tokens of one answer, for estimates: 150 to 200 tokens of JSON, plus the model's reasoning."""


class VLMLabeler:
    """Shows a model the images on which a feature fires most and asks what they share. Thread-safe.

    `label` raises `LabelError` if the service declines or gives no usable answer, `ConfigError` if it rejects the key
    or the model, and `PausedError` if the budget is used up. The `details` of a label record which model answered and
    how many images it saw.
    """

    def __init__(self, service: Service, options: VLMOptions, context: Context) -> None:
        self.options, self.context = options, context
        self._service = service
        is_in_a_run = context.workdir != Path()
        usage_file = context.workdir / f"usage-{service.name.lower()}.json" if is_in_a_run else None
        self._meter = Meter(usage_file, options.max_calls, options.max_tokens, context.option)
        self._asker = Asker(service, options, self._meter, context)
        self._lock = Lock()
        self._without_heatmaps: set[Layer] = set()

    @property
    def concurrency(self) -> int:
        """The maximum number of concurrent calls, from the options."""
        return self.options.concurrency

    @property
    def usage(self) -> Usage:
        """The calls, images and tokens used so far in this run directory, including earlier runs."""
        return self._meter.usage

    def estimate(self, requests: Sequence[LabelRequest]) -> Usage:
        """One call per request; tokens by the service's published rule for square images, so only roughly."""
        return _total(self._expected_of(request) for request in requests)

    def estimate_judging(self, n_images: Sequence[int]) -> Usage:
        """The expected usage for judging labels with these numbers of images: one call per twelve images."""
        batches = [min(judging.AT_ONCE, n - start) for n in n_images for start in range(0, n, judging.AT_ONCE)]
        n_letters = len(judging.INSTRUCTIONS) + LETTERS_OF_WORDS
        return _total(self._expected(n_letters, n) for n in batches)

    def label(self, request: LabelRequest) -> FeatureLabel:
        """The model's label for the top images; the label is '' if there are none."""
        if not request.top:
            return FeatureLabel("", "the feature is not active on any image", confidence=0.0)
        self.options.check_ready(self.context)
        shown = self._shown(request)
        question = Question(prompt.INSTRUCTIONS, self._parts(request, shown), prompt.SCHEMA)
        try:
            label, reply = self._answer(question, read_label)
        except LabelError as error:
            raise LabelError(f"{request.feature}: {error}") from None
        last = shown[-1][0][0]
        details = {"service": self._service.name, "model": self._model_of(reply), "images": question.n_pictures}
        # without a rating there is nothing to explain
        why = label.why if prompt.strongest(request.relations) else ""
        return replace(label, why=why, details={**details, "top_images": last})

    def judge(self, label: FeatureLabel, images: Sequence[ImageItem]) -> FloatArray:
        """The model's probability that the label applies to each image, float64 `[n_images]` from 0 to 1.

        One call asks about up to twelve images. An unreadable image gets NaN.
        """
        import numpy as np

        self.options.check_ready(self.context)
        scores = np.full(len(images), np.nan)
        readable = _readable(list(enumerate(images)), lambda entry: entry[1])
        prepared = ((place, prepare(image, self.options.image_size)) for (place, _), image in readable)
        while batch := list(islice(prepared, judging.AT_ONCE)):
            places, pictures = zip(*batch, strict=True)
            question = Question(judging.INSTRUCTIONS, judging.question_about(label, pictures), judging.SCHEMA)
            scores[list(places)], _ = self._answer(question, partial(judging.read_answers, n=len(batch)))
        return scores

    def _answer(self, question: Question, read: Callable[[str], T]) -> tuple[T, Reply]:
        """The answer parsed by `read`; if that raises `ValueError`, asks again, stating the problem."""
        problem, advice = "", ""
        for _ in range(TRIES):
            again = [*question.parts, prompt.correction(problem)] if problem else question.parts
            reply = self._ask(replace(question, parts=again))
            try:
                return read(reply.text), reply
            except ValueError as error:
                problem = f"{error}; the answer was cut off at the token limit" if reply.is_cut_off else str(error)
                advice = f"; {self._raise_limit()}" if reply.is_cut_off else ""
        raise LabelError(f"{self._service.name} gave no usable answer in {TRIES} attempts: {problem}{advice}")

    def _raise_limit(self) -> str:
        limit = self.options.max_output_tokens
        now = f", now {limit}" if limit else " above the default of the server"
        return f"raise {self.context.option('max_output_tokens')}{now}"

    def _ask(self, question: Question) -> Reply:
        try:
            reply = self._asker.ask(question, self._expected(question.n_letters, question.n_pictures))
        except UnansweredError as error:
            raise LabelError(str(error)) from None
        if reply.refusal:
            raise LabelError(f"{self._service.name} declines to answer: {prompt.printable(reply.refusal, 300)}")
        return reply

    def _model_of(self, reply: Reply) -> str:
        return prompt.printable(reply.model, 100) or self.options.model

    def _parts(self, request: LabelRequest, top: Sequence[Shown]) -> list[Part]:
        options = self.options
        if not top:
            raise LabelError(f"{request.feature}: none of its {len(request.top)} top images can be read")
        contrast = list(islice(_readable(request.contrast, lambda item: item), options.contrast_images))
        parts: list[Part] = [prompt.about(request)]
        strongest = top[0][0][1].activation
        for number, ((_, one), image) in enumerate(top, start=1):
            parts += [prompt.caption(number, one.activation, strongest), prepare(image, options.image_size)]
            if options.heatmaps:
                overlay = self._overlay(one.item, image, request)
                parts += [prompt.heatmap_caption(number), prepare(overlay, options.image_size)] if overlay else []
        for number, (_, image) in enumerate(contrast, start=1):
            parts += [prompt.contrast_caption(number), prepare(image, options.image_size)]
        return parts

    def _shown(self, request: LabelRequest) -> list[Shown]:
        """The top images to show, each with its rank from 1; an unreadable one is replaced by the next."""
        readable = _readable(list(enumerate(request.top, start=1)), lambda entry: entry[1].item)
        return list(islice(readable, self.options.top_images))

    def _overlay(self, item: ImageItem, image: Image, request: LabelRequest) -> Image | None:
        """None for a feature without heatmaps, which is said once for each place in the model."""
        site = request.feature.site
        with self._lock:  # one model, and it may have to be loaded first
            if site in self._without_heatmaps:
                return None
            try:
                return with_heatmap(self._heatmapper, item, image, request.feature)
            except NoHeatmapError as error:
                self._without_heatmaps.add(site)
                option = self.context.option("heatmaps")
                self.context.logger.warning("%s: %s; its features are named without", option, error)
                return None

    @cached_property
    def _heatmapper(self) -> HeatmapExtractor:
        extractor = self.context.peer("extractor")
        if not isinstance(extractor, HeatmapExtractor):
            option = self.context.option("heatmaps")
            raise ConfigError(f"{option}: this run's extractor cannot compute heatmaps; remove the option")
        return extractor

    def _expected_of(self, request: LabelRequest) -> Usage:
        n_images = self._n_images(request)
        n_letters = len(prompt.INSTRUCTIONS + prompt.about(request)) + n_images * len(prompt.caption(1, 1.0, 1.0))
        return self._expected(n_letters, n_images)

    def _n_images(self, request: LabelRequest) -> int:
        n_top = min(self.options.top_images, len(request.top))
        return n_top * (2 if self.options.heatmaps else 1) + min(self.options.contrast_images, len(request.contrast))

    def _expected(self, n_letters: int, n_images: int) -> Usage:
        tokens = n_letters // LETTERS_PER_TOKEN + n_images * self._service.image_tokens(self.options.image_size)
        return Usage(1, n_images, tokens, OUTPUT_TOKENS)


def _total(usages: Iterable[Usage]) -> Usage:
    return Usage(*map(sum, zip(Usage(), *usages, strict=True)))


def _readable(entries: Sequence[T], item_of: Callable[[T], ImageItem]) -> Iterator[tuple[T, Image]]:
    """The entries whose picture can be read, with the decoded picture."""
    opened = ((entry, open_picture(item_of(entry))) for entry in entries)
    return ((entry, image) for entry, image in opened if image is not None)
