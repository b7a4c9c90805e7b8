"""An S3 server for each module."""

from collections.abc import Iterator

import pytest
from stand_in import Key, StandIn


@pytest.fixture(scope="module")
def s3() -> Iterator[StandIn]:
    server = StandIn({"all": Key("secret-of-all")})
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _without_faults(s3) -> Iterator[None]:
    yield
    s3.faults.clear()
    s3.calls.clear()
