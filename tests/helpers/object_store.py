"""An S3 store, which runs in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

_BUCKET = "survey"


@contextmanager
def object_store() -> Iterator[str]:
    """Yield the URI of a bucket; the environment says where it is and who may use it, as usual."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("S3_ENDPOINT_URL", f"http://{host}:{port}")
            environment.setenv("AWS_ACCESS_KEY_ID", "any")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "any")
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            # The server's objects live as long as the process; a fixture may be made twice in it.
            urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
            boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=_BUCKET)
            yield f"s3://{_BUCKET}/"
    finally:
        server.stop()
