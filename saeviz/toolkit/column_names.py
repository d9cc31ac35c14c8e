"""Guess from column names which columns are statistics of other columns, row numbers, ids or timestamps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SPREAD = _set(
    "sd std stdev stddev stdv sdev se sem stderr sterr var variance iqr mad cv cov ci cis cl moe hdi deviation sigma "
    "\u03c3 stabw standardabweichung standardfehler streuung varianz écart ecart desviación desviacion deviazione "
    "desvio 標準偏差 标准差 標準誤差 标准误"
)
_OTHER = _set(
    "n count counts cnt nobs nratings nraters nvotes num min max minimum maximum median mdn med mode range rng skew "
    "skewness kurt kurtosis error err quartile percentile quantile interval lower upper lwr upr lcl ucl lci uci ll ul "
    "lb ub q p nunique nvalid valid missing numvotes sum uncertainty icc anzahl médiane mediane mediana zentralwert"
)
_MEAN = _set("mean means mn avg average m mw mittelwert moyenne media promedio μ 平均 平均値 均值 平均值")
_AROUND = _set(
    "standard estándar estandar type typ dev of the raters ratings responses low lo high hi l u "
    "conf confidence limit bound"
)
_INTERVAL = _set("ci cis cl hdi quartile percentile quantile interval lower upper lwr upr q p")
_BOUNDS = (("low", "high"), ("lo", "hi"), ("l", "u"))
_LEVELS = _set("90 95 99")
_BARE_COUNTS = _set("n count counts nobs votes")
FEWEST_RATERS = 5
_PERCENTILE = re.compile(r"\d+(?:[.,]\d+)?\s*%")
_NEUTRAL = _set("rating ratings score scores value values")
_FUSED_SPREAD = ("stddev", "stdev", "stderr", "std", "sem", "sd")
_FUSED_OTHER = (
    *(
        "cilow",
        "cihigh",
        "cilower",
        "ciupper",
        "count",
        "median",
        "range",
        "min",
        "max",
        "med",
        "iqr",
        "var",
        "lci",
        "uci",
    ),
    *("cnt", "cil", "ciu", "ci", "se", "n"),
)
_FUSED_MEAN = ("mean", "average", "avg", "mn")
_COUNT_OF_RATERS = re.compile(
    r"(n|num|number|no|nr|count|total)(of)?(the)?(raters?|ratings?|votes?|voters?|participants?|subjects?|observers?|"
    r"judges|annotators?|respondents?|responses?|obs|observations?|comparisons?|valid)|(rater|rating|vote|participant|response)s?(count|n)"
)
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")

_UNNAMED = re.compile(r"|unnamed(: ?\d+)?(_level_\d+)?(\.\d+)?|(\.{2,3}|…)\d+|__index_level_\d+__", re.IGNORECASE)
_ROW_NUMBER = re.compile(
    r"#|x|[xv] ?1|var ?1|column ?1|index|idx|rows?|row ?names?|rn|row ?(number|num|nr|no|idx|index)|nr|no|num|number|"
    r"nº|obs|case|(s|sr|sl) no|serial( ?(number|num|nr|no))?|laufende ?nummer|"
    r"lfd( ?nr)?|level \d+|x \d+|(trial|item|image|picture|photo|stimulus|stim) ?(number|num|nr|no|idx|index)"
)
_WHO = "rater|participant|subject|respondent|user|worker|observer|annotator|coder|evaluator|session|vp|vpn|ppn|ppt|subj"
_WHAT = "image|img|picture|pic|photo|photograph|stimulus|stim|item|file|row|case|trial|record|object"
_ID_WORDS = _set("id ids uuid guid uid pid iid sid")
_ID = re.compile(rf"({_WHO}|{_WHAT}|prolific|mturk|response|oasis|iaps)(id|ids|uid|code|key|pid)")
_WHO_NUMBER = re.compile(rf"({_WHO})(number|num|nr|no|idx|index)?")
_WHAT_EXACTLY = frozenset(_WHAT.split("|"))
_WHAT_NUMBER = re.compile(rf"({_WHAT}|iaps|oasis)(number|num|nr|no)?|code|key|barcode|accession")
_TIME = re.compile(
    r"(.* )?date|time ?stamps?|date ?times?|(start|end|submit|submission|recording) ?time|"
    r"(created|updated|modified|submitted|recorded)( (at|on|date|time))?|.* time ?stamp"
)


@dataclass
class _Stem:
    """The columns that share a stem (such as `valence`), by the statistic that they hold."""

    means: list[str] = field(default_factory=list)
    spreads: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    medians: list[str] = field(default_factory=list)


def is_unnamed(name: str) -> bool:
    """Whether a column has no name, or a placeholder by pandas or R such as `Unnamed: 0`."""
    return _UNNAMED.fullmatch(name.strip()) is not None


def is_row_number(name: str, numbers: Sequence[float]) -> bool:
    """Whether a column numbers the rows: it is named like a row number and counts up or down in whole numbers."""
    if is_unnamed(name):
        return True
    if not _ROW_NUMBER.fullmatch(_spaced(name)) or not _are_whole(numbers):
        return False
    steps = {after > before for before, after in pairwise(numbers)}
    return len(set(numbers)) == len(numbers) and (
        len(steps) <= 1 or max(numbers) - min(numbers) == len(numbers) - 1 or _spaced(name) in ("index", "row")
    )


def is_id(name: str, numbers: Sequence[float]) -> bool:
    """Whether a column identifies images or raters, judging by its name.

    Ambiguous names such as `rater` or `image` count only if the values are whole numbers.
    """
    words, spaced = _words(name, camel=True), _spaced(name)
    compact = spaced.replace(" ", "")
    if words and (words[-1] in _ID_WORDS or (words[0] == "id" and compact[2:] in _WHAT_EXACTLY)):
        return True
    if _ID.fullmatch(compact):
        return True
    whole = _are_whole(numbers) and len(set(numbers)) > 1
    if _WHO_NUMBER.fullmatch(compact):
        return whole
    return _WHAT_NUMBER.fullmatch(compact) is not None and whole and len(set(numbers)) == len(numbers)


def is_count(name: str, numbers: Sequence[float]) -> bool:
    """Whether a column is named like a count (`n`, `votes`) and holds whole numbers of at least `FEWEST_RATERS`."""
    return _compact(name) in _BARE_COUNTS and _are_whole(numbers) and min(numbers, default=0) >= FEWEST_RATERS


def is_time(name: str, numbers: Sequence[float]) -> bool:
    """Whether a column holds times: by its name, as seconds or milliseconds since 1970, or as dates like 20240131."""
    if not numbers:
        return False
    if _TIME.fullmatch(_spaced(name)):
        return True
    low, high = min(numbers), max(numbers)
    if any(1e9 * unit <= low <= high <= 2.5e9 * unit for unit in (1, 1e3, 1e6)):
        return True
    return (
        _are_whole(numbers)
        and 19000101 <= low <= high <= 21001231
        and all(1 <= number // 100 % 100 <= 12 and 1 <= number % 100 <= 31 for number in numbers)
    )


def statistics(names: Sequence[str]) -> dict[str, str]:
    """Maps each column that is a spread, count, median or interval to the column it describes, '' if that is unknown.

    A word such as `sd` or `n` in a name counts only if another column has the same stem, or if all columns have such a
    word.
    """
    stems, parsed = _stems(names)
    found: dict[str, str] = {}
    for name, (stem, kind) in parsed.items():
        if kind != "mean" and (about := _about(stem, kind, stems)) is not None:
            found[name] = about
    for name in names:
        if name not in found and _is_bare(parsed[name]) and (about := _fused(name, names, parsed, found)):
            found[name] = about
    found.update({name: about for name, about in _bounds(names).items() if name not in found})
    rest = [name for name in names if name not in found]
    if len(rest) > 1 and all(parsed[name][1] in ("spread", "other") for name in rest):
        words = [set(_words(name, camel=True)) & _SPREAD for name in rest]
        if any(one & other for one, other in combinations(words, 2)):
            found.update(dict.fromkeys(rest, ""))
    found.update({name: "" for name in names if _is_count_of_raters(name) and name not in found and len(names) > 1})
    shares = [name for name in names if name not in found and parsed[name][0].isdigit() and parsed[name][1] == "other"]
    found.update(dict.fromkeys(shares if len(shares) > 2 else [], ""))  # how often each point of a scale was chosen
    return found


def _bounds(names: Sequence[str]) -> dict[str, str]:
    """The bounds of an interval around another column: `valence_low` and `valence_high` beside `valence`."""
    by_words = {tuple(word for word in _words(name, camel=True) if word not in _LEVELS): name for name in names}
    found: dict[str, str] = {}
    for words, name in by_words.items():
        for low, high in _BOUNDS:
            if low not in words:
                continue
            twin = by_words.get(tuple(high if word == low else word for word in words))
            rest = tuple(word for word in words if word != low)
            about = by_words.get(rest) or by_words.get((*rest, "mean"))
            if rest and twin and about:
                found.update({name: about, twin: about})
    return found


def _stems(names: Sequence[str]) -> tuple[dict[str, _Stem], dict[str, tuple[str, str]]]:
    stems: dict[str, _Stem] = defaultdict(_Stem)
    parsed = {name: _stem_of(name) for name in names}
    for name, (stem, kind) in parsed.items():
        group = stems[stem]
        {"mean": group.means, "spread": group.spreads, "median": group.medians, "other": group.others}[kind].append(
            name
        )
    return dict(stems), parsed


def _about(stem: str, kind: str, stems: dict[str, _Stem]) -> str | None:
    """The column that a statistic describes, '' if that is unknown; None if it is not a statistic."""
    group = stems[stem]
    if group.means:
        return group.means[0]
    if stem and (group.spreads or kind == "spread"):
        near = [
            other
            for other, its in stems.items()
            if its.means and min(len(other), len(stem)) > 2 and (other.startswith(stem) or stem.startswith(other))
        ]
        if near:
            return stems[near[0]].means[0]
    if kind == "median":
        return None
    if group.medians:
        return group.medians[0]
    if not stem:
        return "" if group.spreads and (len(stems) > 1 or len(group.spreads) + len(group.others) > 1) else None
    return "" if len(group.spreads) + len(group.others) > 1 else None


def _fused(name: str, names: Sequence[str], parsed: dict[str, tuple[str, str]], found: dict[str, str]) -> str:
    """The column that a fused name such as `valsd` describes, '' if it is not such a name."""
    compact = _compact(name)
    if not compact.startswith(_FUSED_SPREAD) and not compact.endswith((*_FUSED_SPREAD, *_FUSED_OTHER)):
        return ""  # before looking at all other names, of which there may be thousands
    bases = _bases(name, names, parsed)
    for word in _FUSED_SPREAD:
        rest = compact.removeprefix(word)
        if rest != compact and rest in bases:
            return bases[rest]
    compacts = {_compact(other) for other in (*names, *found)}
    for word in (*_FUSED_SPREAD, *_FUSED_OTHER):
        stem = compact.removesuffix(word)
        if stem == compact or len(stem) < (1 if word in _FUSED_SPREAD and stem in bases else 2):
            continue
        if word in _FUSED_OTHER and not any(stem + spread in compacts for spread in _FUSED_SPREAD):
            continue
        near = [
            base
            for base in bases
            if base == stem or (len(stem) > 2 and base.startswith(stem) and not base.startswith(compact))
        ]
        if near:
            return bases[min(near, key=len)]
    return ""


def _bases(name: str, names: Sequence[str], parsed: dict[str, tuple[str, str]]) -> dict[str, str]:
    """The stems of the other columns that hold means, including fused names such as `valmn`."""
    others = [other for other in names if other != name]
    bases = {parsed[other][0]: other for other in others if parsed[other][1] == "mean" and parsed[other][0]}
    for other in others:
        text = _compact(other)
        for word in _FUSED_MEAN:
            for rest in (text.removesuffix(word), text.removeprefix(word)):
                if 1 < len(rest) < len(text):
                    bases.setdefault(rest, other)
    return bases


def _stem_of(name: str) -> tuple[str, str]:
    """The stem of a column name, and the statistic: "mean", "median", "spread" or "other"."""
    for camel in (True, False):
        words = _words(name, camel=camel)
        start, stop = _statistic(words)
        if stop > start:
            said = set(words[start:stop])
            kind = "spread" if said & _SPREAD else "other" if said & (_OTHER - {"median", "mdn", "med"}) else ""
            kind = kind or ("median" if said & _OTHER else "mean")
            return _stem([*words[:start], *words[stop:]]), kind
    return _stem(_words(name, camel=True)), "mean"


def _statistic(words: Sequence[str]) -> tuple[int, int]:
    """The longest part of a name that says which statistic it is."""
    best = (0, 0)
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            part = words[start:stop]
            if not set(part) & (_SPREAD | _OTHER | _MEAN) or stop - start <= best[1] - best[0]:
                continue
            if {"q", "p"} & set(part) and not any(word.isdigit() for word in part):
                continue
            allowed = _SPREAD | _OTHER | _MEAN | _AROUND
            if all(word in allowed or (word.isdigit() and set(part) & _INTERVAL) for word in part):
                best = (start, stop)
    return best


def _stem(words: Sequence[str]) -> str:
    telling = [word for word in words if word not in _NEUTRAL]
    return "".join(telling or words)


def _is_bare(parsed: tuple[str, str]) -> bool:
    return parsed[1] == "mean"


def _is_count_of_raters(name: str) -> bool:
    return _COUNT_OF_RATERS.fullmatch(_compact(name)) is not None


def _words(name: str, *, camel: bool) -> list[str]:
    name = _PERCENTILE.sub(" quantile ", name.replace("±", " sd "))
    return _WORD.findall((_CAMEL.sub(" ", name) if camel else name).lower())


def _spaced(name: str) -> str:
    return "#" if name.strip() == "#" else " ".join(_words(name, camel=True))


@lru_cache(1 << 16)
def _compact(name: str) -> str:
    return "".join(_words(name, camel=False))


def _are_whole(numbers: Iterable[float]) -> bool:
    return all(float(number).is_integer() for number in numbers)
