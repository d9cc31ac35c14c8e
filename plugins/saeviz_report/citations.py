"""Methods to cite: those that the run used, according to its configuration and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import saeviz
from saeviz import Citation
from saeviz_report.summary import component_of, extractors_of

_PRISMA = Citation(
    "Sparse autoencoders for CLIP",
    "Joseph et al. (2025)",
    "Prisma: An Open Source Toolkit for Mechanistic Interpretability in Vision and Video",
    "arXiv:2504.19475",
)
_CLIP = Citation(
    "CLIP",
    "Radford et al. (2021)",
    "Learning Transferable Visual Models From Natural Language Supervision",
    "ICML 2021. arXiv:2103.00020",
)
_OPENCLIP = Citation("Implementation of CLIP", "Ilharco et al. (2021)", "OpenCLIP", "doi:10.5281/zenodo.5143773")
_BEFORE_CITES = {
    "dinov2": Citation(
        "Independent embedding",
        "Oquab et al. (2024)",
        "DINOv2: Learning Robust Visual Features without Supervision",
        "Transactions on Machine Learning Research. arXiv:2304.07193",
    ),
    "timm": Citation("Embedding models", "Wightman (2019)", "PyTorch Image Models", "doi:10.5281/zenodo.4414861"),
    "metadata_terms": Citation(
        "Over-represented words",
        "Monroe, Colaresi & Quinn (2008)",
        "Fightin' Words: Lexical Feature Selection and Evaluation for Identifying the Content of Political Conflict",
        "Political Analysis, 16(4), 372\N{EN DASH}403",
    ),
}
"""By plugin, for runs made before components said what is to be cited for them."""
_MONOSEMANTICITY = Citation(
    "Monosemanticity score",
    "Pach, Karthik, Bouniot, Belongie & Akata (2025)",
    "Sparse Autoencoders Learn Monosemantic Features in Vision-Language Models",
    "NeurIPS 2025. arXiv:2504.02821",
)
_CORRECTIONS = {
    "bh": Citation(
        "False discovery rate",
        "Benjamini & Hochberg (1995)",
        "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing",
        "Journal of the Royal Statistical Society B, 57(1), 289\N{EN DASH}300. doi:10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "by": Citation(
        "False discovery rate under any dependence",
        "Benjamini & Yekutieli (2001)",
        "The control of the false discovery rate in multiple testing under dependency",
        "The Annals of Statistics, 29(4), 1165\N{EN DASH}1188. doi:10.1214/aos/1013699998",
    ),
    "max-t": Citation(
        "Permutation of ratings, max-t", "Westfall & Young (1993)", "Resampling-Based Multiple Testing", "Wiley"
    ),
}
_SPEARMAN = Citation(
    "Interval of Spearman's rho",
    "Bonett & Wright (2000)",
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    "Psychometrika, 65(1), 23\N{EN DASH}28",
)
_AREA = Citation(
    "Area under the ROC curve",
    "DeLong, DeLong & Clarke-Pearson (1988)",
    "Comparing the areas under two or more correlated receiver operating characteristic curves: a nonparametric "
    "approach",
    "Biometrics, 44(3), 837\N{EN DASH}845",
)
_AREA_IN_GROUPS = Citation(
    "Area under the ROC curve in groups of images",
    "Obuchowski (1997)",
    "Nonparametric analysis of clustered ROC curve data",
    "Biometrics, 53(2), 567\N{EN DASH}578",
)
_RANKS_IN_GROUPS = Citation(
    "Test of an area under the ROC curve in groups of images",
    "Rosner & Grove (1999)",
    "Use of the Mann\N{EN DASH}Whitney U-test for clustered data",
    "Statistics in Medicine, 18(11), 1387\N{EN DASH}1400",
)
_ERRORS = {
    "clusters": Citation(
        "Errors robust to groups of images, CR2",
        "Pustejovsky & Tipton (2018)",
        "Small-sample methods for cluster-robust variance estimation and hypothesis testing in fixed effects models",
        "Journal of Business & Economic Statistics, 36(4), 672\N{EN DASH}683",
    ),
    "hc2": Citation(
        "Errors robust to unequal spread, HC2",
        "Imbens & Kolesár (2016)",
        "Robust standard errors in small samples: some practical advice",
        "Review of Economics and Statistics, 98(4), 701\N{EN DASH}712",
    ),
}
_SELECTED = Citation(
    "Correlations corrected for selection",
    "Zhong & Prentice (2008)",
    "Bias-reduced estimators and confidence intervals for odds ratios in genome-wide association studies",
    "Biostatistics, 9(4), 621\N{EN DASH}634. doi:10.1093/biostatistics/kxn001",
)
_RELIABILITY = Citation(
    "Reliability of ratings",
    "McGraw & Wong (1996)",
    "Forming inferences about some intraclass correlation coefficients",
    "Psychological Methods, 1(1), 30\N{EN DASH}46",
)
_RATERS = Citation(
    "Raters and images random",
    "Judd, Westfall & Kenny (2012)",
    "Treating stimuli as a random factor in social psychology",
    "Journal of Personality and Social Psychology, 103(1), 54\N{EN DASH}69",
)
_STABILITY = Citation(
    "Stability of the selection",
    "Meinshausen & B\N{LATIN SMALL LETTER U WITH DIAERESIS}hlmann (2010)",
    "Stability selection",
    "Journal of the Royal Statistical Society B, 72(4), 417\N{EN DASH}473",
)
_COMPONENTS = Citation(
    "Principal components of features, for the map",
    "Halko, Martinsson & Tropp (2011)",
    "Finding structure with randomness: probabilistic algorithms for constructing approximate matrix decompositions",
    "SIAM Review, 53(2), 217\N{EN DASH}288. doi:10.1137/090771806",
)
_PACMAP = Citation(
    "Map of features",
    "Wang, Huang, Rudin & Shaposhnik (2021)",
    "Understanding how dimension reduction tools work: an empirical approach to deciphering t-SNE, UMAP, TriMap, and "
    "PaCMAP for data visualization",
    "Journal of Machine Learning Research, 22(201), 1\N{EN DASH}73",
)


_EMBEDDED_BY = {"embeddings": "embed", "second_embeddings": "embed-second"}


def citations(run: saeviz.Run) -> list[Citation]:
    """What the run used, each once, models first."""
    config = run.manifest.get("config") or {}
    unused = {table for table, stage in _EMBEDDED_BY.items() if _made_none(run, stage)}
    used = {table: settings for table, settings in config.items() if table not in unused}
    return list(dict.fromkeys([*_of_models(used), *of_components(run), *_of_scores(run)]))


def of_components(run: saeviz.Run) -> Iterator[Citation]:
    """What the components that the run used say is to be cited (`ComponentSpec.cites`)."""
    for place, plugin in (run.manifest.get("plugins") or {}).items():
        if place in _EMBEDDED_BY and _made_none(run, _EMBEDDED_BY[place]):
            continue
        for one in plugin.get("cites") or ():
            with suppress(TypeError, saeviz.DataError):  # another version wrote something else
                yield Citation(**one)
        if "cites" not in plugin and (known := _BEFORE_CITES.get(str(plugin.get("plugin")))):
            yield known


def _made_none(run: saeviz.Run, stage: str) -> bool:
    """Whether a stage finished without an embedding: no scorer of the run uses any."""
    counts = ((run.manifest.get("stages") or {}).get(stage) or {}).get("counts") or {}
    return counts.get("embedded") == 0


def _of_models(config: Mapping[str, Any]) -> Iterator[Citation]:
    extractors = extractors_of(config)
    if "prisma" in str(extractors).lower():
        yield _PRISMA
    uses = {component_of(config, role) for role in ("labeler", "judge")} | {str(one.get("use")) for one in extractors}
    if "clip" in str(extractors).lower() or "clip-vocabulary" in uses:
        yield _CLIP
    if uses & {"clip-b32-prisma", "clip-vocabulary"}:
        yield _OPENCLIP


def _of_scores(run: saeviz.Run) -> Iterator[Citation]:
    if "monosemanticity" in run.scores:
        yield _MONOSEMANTICITY
    prefixes = saeviz.relation_prefixes(run.correlations.columns)
    used = [saeviz.facts_of(prefix, run.facts) for prefix in prefixes]
    corrections = {str(facts.get("correction")) for facts in used} | ({"bh"} if "ms_q" in run.scores else set())
    yield from (citation for name, citation in _CORRECTIONS.items() if name in corrections)
    errors = {str(facts.get("errors")) for facts in used}
    yield from (citation for name, citation in _ERRORS.items() if name in errors)
    measures = {str(facts.get("measure")) for facts in used}
    if "Spearman's rho" in measures:
        yield _SPEARMAN
    if "rank-biserial r" in measures:
        yield _AREA
    if any(facts.get("measure") == "rank-biserial r" and facts.get("errors") == "clusters" for facts in used):
        yield from (_AREA_IN_GROUPS, _RANKS_IN_GROUPS)
    if any(f"{prefix}r_corrected" in run.correlations for prefix in prefixes):
        yield _SELECTED
    if "reliability" in run.facts:
        yield _RELIABILITY
    if "r within raters" in measures:
        yield _RATERS
    if any(choice.selection_stability is not None for choice in run.selected):
        yield _STABILITY
    if run.facts.get("map_by") == "coactivation":
        yield _COMPONENTS
    if "pacmap" in str(run.facts.get("map_method")):
        yield _PACMAP
