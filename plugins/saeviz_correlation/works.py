"""Works to cite for correlations: those whose method a run used."""

from __future__ import annotations

from dataclasses import replace

from saeviz import Citation
from saeviz.toolkit.works import FALSE_DISCOVERY_RATE

_CORRECTIONS = (
    replace(FALSE_DISCOVERY_RATE, when="correction=bh"),
    Citation(
        "False discovery rate under any dependence",
        "Benjamini & Yekutieli (2001)",
        "The control of the false discovery rate in multiple testing under dependency",
        "The Annals of Statistics, 29(4), 1165\N{EN DASH}1188. doi:10.1214/aos/1013699998",
        when="correction=by",
    ),
    Citation(
        "Permutation of ratings, max-t",
        "Westfall & Young (1993)",
        "Resampling-Based Multiple Testing",
        "Wiley",
        when="correction=max-t",
    ),
)
SPEARMAN = Citation(
    "Interval of Spearman's rho",
    "Bonett & Wright (2000)",
    "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    "Psychometrika, 65(1), 23\N{EN DASH}28",
)
AREA = (
    Citation(
        "Area under the ROC curve",
        "DeLong, DeLong & Clarke-Pearson (1988)",
        "Comparing the areas under two or more correlated receiver operating characteristic curves: a nonparametric "
        "approach",
        "Biometrics, 44(3), 837\N{EN DASH}845",
    ),
    Citation(
        "Area under the ROC curve in groups of images",
        "Obuchowski (1997)",
        "Nonparametric analysis of clustered ROC curve data",
        "Biometrics, 53(2), 567\N{EN DASH}578",
        when="auc_errors=clusters",
    ),
    Citation(
        "Test of an area under the ROC curve in groups of images",
        "Rosner & Grove (1999)",
        "Use of the Mann\N{EN DASH}Whitney U-test for clustered data",
        "Statistics in Medicine, 18(11), 1387\N{EN DASH}1400",
        when="auc_errors=clusters",
    ),
)
_CLUSTERS = Citation(
    "Errors robust to groups of images, CR2",
    "Pustejovsky & Tipton (2018)",
    "Small-sample methods for cluster-robust variance estimation and hypothesis testing in fixed effects models",
    "Journal of Business & Economic Statistics, 36(4), 672\N{EN DASH}683",
)
_UNEQUAL = Citation(
    "Errors robust to unequal spread, HC2",
    "Imbens & Kolesár (2016)",
    "Robust standard errors in small samples: some practical advice",
    "Review of Economics and Statistics, 98(4), 701\N{EN DASH}712",
)
_SELECTED = Citation(
    "Correlations corrected for selection",
    "Zhong & Prentice (2008)",
    "Bias-reduced estimators and confidence intervals for odds ratios in genome-wide association studies",
    "Biostatistics, 9(4), 621\N{EN DASH}634. doi:10.1093/biostatistics/kxn001",
)


def of_tests(facts: str) -> tuple[Citation, ...]:
    """Those for corrections and errors; `facts` is what stands before the names of the scorer's facts."""
    errors = (
        replace(_CLUSTERS, when=f"{facts}errors=clusters"),
        replace(_UNEQUAL, when=f"{facts}errors=hc2"),
    )
    return (*_CORRECTIONS, *errors)


def of_relations(prefix: str) -> tuple[Citation, ...]:
    """Those for correlations whose columns begin with the prefix."""
    return (*of_tests(prefix or "correlation_"), replace(_SELECTED, when=f"{prefix}r_corrected"))
