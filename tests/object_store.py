"""An object store for tests: moto's server of S3, on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

NUMBERS = count()


def running() -> Iterator[str]:
    """The address of a server that keeps objects in memory."""
    moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="needs pip install 'moto[server]'")
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # not moto's own server, which looks for the service of every request among all that it knows
    server = make_server("127.0.0.1", 0, moto.create_backend_app("s3"), threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


def environment(address: str, folder: Path) -> dict[str, str]:
    """What a process needs to use the server, and nothing that belongs to the user."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def new_bucket() -> str:
    """The address of a new, empty bucket; the environment is that of `environment`."""
    import s3fs

    bucket = f"bucket-{next(NUMBERS)}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}"
