"""The file formats of SAEs: a module each, a line in `sae_formats`; each is a `saeviz.toolkit.sae.SAEFormat`."""

from __future__ import annotations

from functools import cache

from saeviz.contract.saes import SAEFormat


@cache
def sae_formats() -> dict[str, SAEFormat]:
    """Every format by name, in the order in which they are tried."""
    from saeviz.toolkit.sae.formats import (
        clip_topk,
        dictionary_learning,
        overcomplete,
        prisma,
        saelens,
        saev,
        visaebench,
    )

    return {
        "visaebench": visaebench,
        "prisma": prisma,
        "dictionary_learning": dictionary_learning,
        "saelens": saelens,
        "saev": saev,
        "overcomplete": overcomplete,
        "clip-topk-sae": clip_topk,
    }
