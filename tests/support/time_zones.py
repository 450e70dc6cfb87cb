"""A time zone of the machine that is far from UTC, in which most test machines are."""

import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest


@contextmanager
def far_from_utc() -> Generator[None]:
    """Put the machine in the zone of the Chatham Islands, on Windows only for programs that are started."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "Pacific/Chatham")
        _read_machine_zone()
        yield
    _read_machine_zone()


def _read_machine_zone() -> None:
    if hasattr(time, "tzset"):
        time.tzset()
