"""Sparse autoencoders: read those of every known format, encode, decode, and look at the decoder.

`read_sae` gives an `SAE`. Other packages add formats (`SAEFormat`) and SAEs that are known by name (`KnownSAE`), see
`docs/reference/saes.md`.
"""

from __future__ import annotations

from saeviz.contract.saes import KnownSAE, SAEConfig, SAEFormat, SAEWeights
from saeviz.toolkit.sae.forward import SAE
from saeviz.toolkit.sae.known import default_saes, find, known_saes, table_of
from saeviz.toolkit.sae.options import HookPoint, SAEOptions, SAETable
from saeviz.toolkit.sae.sources import SAESource, read_sae

__all__ = [
    "SAE",
    "HookPoint",
    "KnownSAE",
    "SAEConfig",
    "SAEFormat",
    "SAEOptions",
    "SAESource",
    "SAETable",
    "SAEWeights",
    "default_saes",
    "find",
    "known_saes",
    "read_sae",
    "table_of",
]
