"""A methods paragraph from the settings and results of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PureWindowsPath
from typing import Any

import saeviz
from saeviz_report.method import Method
from saeviz_report.summary import component_of, extractors_of, recorded, sources_of
from saeviz_report.text import plain

MOST_NAMED = 12
"""Ratings and spaces named one by one."""
LEVEL = 0.05
Part = str | tuple[str, ...]
"""Text, or for what something is cited (`Citation.what`)."""


def sentences(run: saeviz.Run, method: Method) -> list[list[Part]]:
    """What was done, sentence by sentence; what a run did not do is not mentioned."""
    config = recorded(run, "config")
    parts = (_images(run), _features(run, config), _monosemanticity(run, config), _relations(run, method))
    found = [*(one for part in parts for one in part), *_selection(run, config), *_names(run, config)]
    return [*found, *_also(run, found), *_end(run)]


def paragraph(run: saeviz.Run, method: Method) -> str:
    """The paragraph as plain text; works are cited by authors and year."""

    def name(cited: Sequence[saeviz.Citation]) -> str:
        return f"({'; '.join(citation.authors.replace(' (', ', ').rstrip(')') for citation in cited)})"

    return written(sentences(run, method), method.citations, name, str)


def written(
    found: Sequence[Sequence[Part]],
    citations: Sequence[saeviz.Citation],
    cite: Callable[[Sequence[saeviz.Citation]], str],
    escape: Callable[[str], str],
) -> str:
    """The paragraph; `cite` writes citations, `escape` any other text."""

    def one(part: Part) -> str:
        if isinstance(part, str):
            return escape(part)
        cited = [citation for citation in citations if citation.what in part]
        return f" {cite(cited)}" if cited else ""

    return " ".join("".join(map(one, sentence)) for sentence in found) + "\n"


def _images(run: saeviz.Run) -> Iterator[list[Part]]:
    ratings = run.ratings
    named = _named(ratings)
    yield [
        f"We analysed {len(run.items):,} images"
        + (f" with {len(ratings)} rating{'s' * (len(ratings) > 1)}{named}." if ratings else " without ratings.")
    ]


def _features(run: saeviz.Run, config: Mapping[str, Any]) -> Iterator[list[Part]]:
    models = [name_of(made_by["model"]) for made_by in sources_of(run) if isinstance(made_by.get("model"), str)]
    models = list(dict.fromkeys(models))
    uses = " and ".join(dict.fromkeys(str(one.get("use")) for one in extractors_of(config)))
    sizes = sorted({space.n_features for space in run.spaces})
    text = f"Features are those of sparse autoencoders, read by saeviz {saeviz.__version__} (extractor {uses}"
    yield [
        text + (f"; model{'s' * (len(models) > 1)}: {' and '.join(models)})" if models else ")"),
        _works(run, "extractor", "extractors."),
        f", in {len(run.spaces)} space{'s' * (len(run.spaces) != 1)}{_named(list(map(str, run.spaces)))} of "
        f"{' or '.join(f'{size:,}' for size in sizes) or 'no'} features each.",
    ]


def _monosemanticity(run: saeviz.Run, config: Mapping[str, Any]) -> Iterator[list[Part]]:
    if "monosemanticity" not in run.scores:
        return
    definition = run.facts.get("monosemanticity_definition")
    by = f" (definition: {plain(definition)})" if definition else ""
    yield [
        f"For each feature we computed the monosemanticity score{by}",
        ("Monosemanticity score",),
        f" from embeddings by {_with_model(config, 'embeddings') or 'an independent model'}",
        _works(run, "embeddings"),
        ", leaving out pairs of an image with itself.",
    ]


def _relations(run: saeviz.Run, method: Method) -> Iterator[list[Part]]:
    if "r" not in method.correlations:
        return
    prefix = next(iter(saeviz.relation_prefixes(run.correlations.columns)), "")
    facts = saeviz.facts_of(prefix, run.facts)
    meaning = method.meaning[:1].lower() + method.meaning[1:] if method.meaning.startswith("The ") else method.meaning
    yield [f"The relation between a feature and a rating was measured by {method.measure}: {meaning}."]
    if method.n_groups is not None and method.is_permuted:
        yield [
            f"Images belong to {method.n_groups:,} groups; p-values come from {plain(facts.get('permutations'))} "
            "permutations of the ratings within groups, whose means were held constant, or of whole groups if a "
            "rating does not vary within them."
        ]
    elif method.n_groups is not None:
        yield [
            f"Images belong to {method.n_groups:,} groups; p-values and confidence intervals are robust to their "
            "dependence (CR2, with Satterthwaite's degrees of freedom)."
        ]
    least = facts.get("min_active")
    size = facts.get("family_size")
    yield [
        f"p-values were {method.adjustment}",
        ("False discovery rate", "False discovery rate under any dependence", "Permutation of ratings, max-t"),
        f" ({size:,} tests)" if isinstance(size, int) else "",
        f", at a level of {plain(facts.get('alpha'))}" if "alpha" in facts else "",
        f"; features active on fewer than {plain(least)} rated images were not tested." if least else ".",
    ]
    if method.has_held_out and method.share_found_on is not None:
        yield [
            f"Relations were found on a random {100 * method.share_found_on:g} % of the "
            f"{'groups of images' if any(item.group for item in run.items) else 'images'} and tested again on the "
            "others; correlations reported for the latter are free of selection."
        ]
    elif method.any_corrected:
        yield [
            "Correlations that were significant, and their confidence intervals, are given as estimates conditional on "
            "their being significant",
            ("Correlations corrected for selection",),
            ".",
        ]
    yield from _bootstrap(run, facts.get("bootstrap"), method.n_groups is not None)


def _bootstrap(run: saeviz.Run, n_samples: object, groups: bool) -> Iterator[list[Part]]:
    if isinstance(n_samples, int) and "stability" in run.correlations:
        drawn = "whole groups" if groups else "images"
        yield [
            "For significant correlations, 95 % intervals by the bias-corrected and accelerated bootstrap (Efron 1987) "
            f"were computed from {n_samples:,} samples of {drawn}, and the share of these samples in which a "
            "correlation was significant again, with the same sign."
        ]


def _selection(run: saeviz.Run, config: Mapping[str, Any]) -> Iterator[list[Part]]:
    if "cluster" in run.scores:
        yield ["Features that fire together were grouped, and one of each group was considered further."]
    if run.selected:
        yield [f"{len(run.selected):,} features were selected (selector {component_of(config, 'selector')})."]
    known: dict[int, list[float]] = {}  # those of the last tier are selected nearly always: not one mean of all
    for choice in run.selected:
        if choice.selection_stability is not None:
            known.setdefault(choice.tier, []).append(choice.selection_stability)
    if known:
        means = [f"{sum(shares) / len(shares):.2f} in tier {tier}" for tier, shares in sorted(known.items())]
        n = plain(
            recorded(run, "stages", "select", "counts").get("halves") or "many"
        )  # runs of earlier versions do not say
        yield [
            f"To see how stable this is, features were selected again by the correlations on {n} random halves "
            "of the images (of whole groups, if they have groups)",
            ("Stability of the selection",),
            f"; the mean share of halves that selected a feature again is {', '.join(means)}.",
        ]


def _names(run: saeviz.Run, config: Mapping[str, Any]) -> Iterator[list[Part]]:
    labeler, judge = (component_of(config, role) for role in ("labeler", "judge"))
    if not labeler or not run.labels:
        return
    yield [
        f"{sum(1 for label in run.labels.values() if label.label):,} of them were named from their most activating "
        f"images (labeler {_with_model(config, 'labeler')})",
        _works(run, "labeler"),
        ".",
    ]
    if judge and len(run.judgements):
        held = int((run.judgements["verdict"] == "confirmed").sum())
        yield [
            f"Names were tested on images that the labeler had not seen (judge {judge}); {held:,} of "
            f"{len(run.judgements):,} were confirmed."
        ]
    if len(run.label_ratings):
        table = run.label_ratings
        yield [
            f"To see whether names alone predict ratings, the judge {judge} scored each of them, without further "
            f"information, on the same random sample of {int(table['n'].max()):,} images, which had been used neither "
            "for finding relations nor for naming. Its scores were correlated with the ratings of these images, and "
            "p-values adjusted by the procedure of Benjamini and Hochberg over all names and ratings ",
            f"({int((table['q'] <= LEVEL).sum()):,} of {int(table['p'].notna().sum()):,} with q up to {LEVEL:g}).",
        ]


def _also(run: saeviz.Run, found: Sequence[Sequence[Part]]) -> Iterator[list[Part]]:
    """What components are to be cited for and no other sentence is about."""
    said = {what for sentence in found for part in sentence if isinstance(part, tuple) for what in part}
    more = [what for what in _works(run, "") if what not in said]
    if more:
        listed = [part for what in more for part in ("; ", what, (what,))]
        yield ["Other methods: ", *listed[1:], "."]


def _works(run: saeviz.Run, *places: str) -> tuple[str, ...]:
    """For what the components at these places are to be cited."""
    found = (one.what for place, works in run.citations.items() if place.startswith(places) for one in works)
    return tuple(dict.fromkeys(found))


def _end(run: saeviz.Run) -> Iterator[list[Part]]:
    settings, versions = recorded(run, "config", "run"), recorded(run, "versions")
    used = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "saeviz")
    seed = f"The random seed was {settings['seed']}" if "seed" in settings else "The random seed is not recorded"
    yield [f"{seed}; versions: {used}." if used else f"{seed}."]


def model_of(config: Mapping[str, Any], role: str) -> str:
    """The name of the model that the component of a role was told to use; '' if it has no such option."""
    table = config.get(role)
    model = table.get("model") if isinstance(table, Mapping) else None
    return name_of(model) if isinstance(model, str) else ""


def _with_model(config: Mapping[str, Any], role: str) -> str:
    model = model_of(config, role)
    return component_of(config, role) + (f", model {model}" if model else "")


def name_of(model: str) -> str:
    """The name of a model; of one in a folder of this machine only that of the folder or file."""
    if _is_path(model):
        return PureWindowsPath(model).name  # knows slashes of both kinds
    for said in re.finditer(r" (?:in|of)(?: the folder)? ", model):
        if _is_path(where := model[said.end() :]):
            return model[: said.end()] + PureWindowsPath(where).name
    return model


def _is_path(text: str) -> bool:
    path = PureWindowsPath(text)
    return bool(path.root or path.drive or text[:1] in (".", "~"))


def _named(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if 0 < len(names) <= MOST_NAMED else ""
