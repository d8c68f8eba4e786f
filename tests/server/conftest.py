from __future__ import annotations

from pathlib import Path

import pytest

from epochal.server.app import make_app
from tests.server.asking import Client
from tests.server.recorded import record


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with one finished run that no test changes, and the run's `project/run_id`."""
    root = tmp_path_factory.mktemp("shown")
    return root, record(root)


@pytest.fixture
def client(shown: tuple[Path, str], tmp_path: Path) -> Client:
    return Client(make_app(shown[0], studio_folder=tmp_path / "none"))


@pytest.fixture
def base(shown: tuple[Path, str]) -> str:
    return f"/api/v1/runs/{shown[1]}"
