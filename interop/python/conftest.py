"""Fixtures: gateways in a scratch directory, a fresh dataset for each test, and the count of results."""

import itertools
import os
from pathlib import Path

import pytest

from helpers import Gateway

_datasets = itertools.count(1)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="session")
def gateway(scratch):
    """An open gateway that all tests share; each uses a dataset of its own."""
    gateway = Gateway(scratch / "shared")
    yield gateway
    gateway.stop()


@pytest.fixture
def own_gateway(scratch, request):
    """A gateway that the test may stop and start."""
    gateway = Gateway(scratch / request.node.name)
    yield gateway
    gateway.stop()


@pytest.fixture
def dataset():
    return f"TEST.{next(_datasets):04d}"


def pytest_terminal_summary(terminalreporter):
    """Writes the one line that ../run ends with."""
    stats = terminalreporter.stats
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    path = os.environ.get("TAPEWIRE_INTEROP_RESULT")
    if path:
        Path(path).write_text(f"{len(stats.get('passed', []))} passed, {failed} failed\n")
