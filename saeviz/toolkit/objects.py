"""A folder of an object store, `s3://` or `gs://`, by fsspec; see `saeviz.formats.objects`."""

from __future__ import annotations

from saeviz.formats.objects import FORMS, Objects, check_url

__all__ = ["FORMS", "Objects", "check_url"]
