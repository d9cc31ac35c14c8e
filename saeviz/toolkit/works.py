"""Works that several plugins are to be cited for, for `cites` of their specs."""

from __future__ import annotations

from saeviz.values.citations import Citation

PRISMA = Citation(
    "Sparse autoencoders for CLIP",
    "Joseph et al. (2025)",
    "Prisma: An Open Source Toolkit for Mechanistic Interpretability in Vision and Video",
    "arXiv:2504.19475",
)
CLIP = Citation(
    "CLIP",
    "Radford et al. (2021)",
    "Learning Transferable Visual Models From Natural Language Supervision",
    "ICML 2021. arXiv:2103.00020",
)
OPEN_CLIP = Citation("Implementation of CLIP", "Ilharco et al. (2021)", "OpenCLIP", "doi:10.5281/zenodo.5143773")
FALSE_DISCOVERY_RATE = Citation(
    "False discovery rate",
    "Benjamini & Hochberg (1995)",
    "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing",
    "Journal of the Royal Statistical Society B, 57(1), 289\N{EN DASH}300. doi:10.1111/j.2517-6161.1995.tb02031.x",
)
