"""Top examples on Ray against those of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import NetworkError, NotFoundError
from epochal.network import Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
ray = pytest.importorskip("ray", reason="Ray is not installed (epochal[ray])")
pytestmark = [pytest.mark.torch, pytest.mark.ray, pytest.mark.slow]

from epochal.lens.examples import top_examples  # noqa: E402
from tests.lens.known import plain_cnn  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Drawn:
    """Pictures that are made when they are asked for."""

    def __len__(self) -> int:
        return 700

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return np.random.default_rng(index).normal(size=(1, 28, 28)).astype(np.float32), 0


def test_processes_find_what_one_finds() -> None:
    network = plain_cnn()
    seen: list[tuple[int, int]] = []
    found = top_examples(
        network, Drawn(), layer=["3", "10"], k=5, workers=2, progress=lambda done, total: seen.append((done, total))
    )
    expected = top_examples(network, Drawn(), layer=["3", "10"], k=5)
    for layer, top in found.items():
        np.testing.assert_array_equal(top.indices, expected[layer].indices)
        np.testing.assert_allclose(top.values, expected[layer].values, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["3"].crop(2, 1), expected["3"].crop(2, 1))
    assert seen[-1] == (700, 700)
    assert len(seen) > 1
    assert ray.is_initialized(), "a cluster of the user's is left as it is"


def test_a_recorded_program_is_sent(tmp_path: Path) -> None:
    network = plain_cnn()
    x = torch.rand(300, 1, 28, 28)
    torch.export.save(torch.export.export(network, (x[:4],), strict=False), tmp_path / "n.pt2")
    found = top_examples(Network.open(tmp_path / "n.pt2"), x, layer="3", k=3, workers=2)
    np.testing.assert_array_equal(found.indices, top_examples(network, x, layer="3", k=3).indices)


def test_what_goes_wrong_is_said() -> None:
    with pytest.raises(NotFoundError, match="no layer"):
        top_examples(plain_cnn(), Drawn(), layer="nowhere", workers=2)

    class Broken(Drawn):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            if index == 600:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    with pytest.raises(NetworkError, match="the disk is gone"):
        top_examples(plain_cnn(), Broken(), layer="3", workers=2)
