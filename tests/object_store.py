"""An object store for tests: moto's server of S3, on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

NUMBERS = count()


def running() -> Iterator[str]:
    """The address of a server that keeps objects in memory."""
    server = pytest.importorskip("moto.server", reason="needs pip install 'moto[server]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


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
