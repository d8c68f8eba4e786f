"""Films of the lens: a file that holds what each method finds at each snapshot, made beside the server."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageSequence

import epochal
from epochal.lens.showing import scene
from epochal.picture import pictures

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch

from tests.server.test_looking import ask, ended, lens, root  # noqa: E402, F401 - fixtures


def file(ask: httpx.Client, lens: str, **question: Any) -> tuple[dict[str, Any], httpx.Response]:  # noqa: F811
    answer = ask.post(f"{lens}/film", json=question)
    assert answer.status_code == 200, answer.text
    job = ended(ask, answer.json())
    assert job["state"] == "done", job
    body = ask.get(f"/api/v1/lens/{job['id']}/file")
    assert body.status_code == 200, body.text
    return job, body


def expected(root: Path, methods: list[str], target: int) -> list[Any]:  # noqa: F811
    """The frames that Python draws."""
    from epochal import lens as looking

    run = epochal.open(root).run("latest")
    given = run.predictions().given
    assert given is not None
    image = given[3].transpose(2, 0, 1)
    seen = {
        name: [getattr(looking, name)(run.network(step), image, target=target) for step in (0, 20)] for name in methods
    }
    pixels = (given[3] * 255).round()
    drawn = scene(
        seen, np.clip(pixels, 0, 255).astype(np.uint8), title=f"example 3 · {run.stored.info().name}",
        captions=["step 0", "step 20"],
    )  # fmt: skip
    return [np.asarray(one) for one in pictures(drawn)]


def test_each_format_holds_what_python_finds(ask: httpx.Client, lens: str, root: Path) -> None:  # noqa: F811
    methods = ["saliency", "grad_cam"]
    asked = {"methods": methods, "series": "predictions", "example": 3, "step": 20}
    frames = expected(root, methods, target=1)
    job, page = file(ask, lens, **asked, format="html", fps=4)
    assert page.headers["content-type"].startswith("text/html")
    assert "attachment" in page.headers["content-disposition"]
    assert job["file"].endswith(".html")
    held = json.loads(re.findall(r'id="film">(.*?)</script>', page.text, re.DOTALL)[0])
    assert held["captions"] == ["step 0", "step 20"]
    for packed, frame in zip(held["frames"], frames, strict=True):
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(packed))).convert("RGB"))
        np.testing.assert_array_equal(found, frame)
    _, moving = file(ask, lens, **asked, format="gif")
    with Image.open(io.BytesIO(moving.content)) as gif:
        drawn = [np.asarray(one.convert("RGB")).astype(int) for one in ImageSequence.Iterator(gif)]
    for a, frame in zip(drawn, frames, strict=True):
        assert np.abs(a - frame).mean() < 3
    _, still = file(ask, lens, **{**asked, "step": 0}, target=1, format="png")
    with Image.open(io.BytesIO(still.content)) as png:
        assert png.size == (frames[0].shape[1], frames[0].shape[0])


def test_what_gives_no_film_is_refused(ask: httpx.Client, lens: str) -> None:  # noqa: F811
    for more, words in (
        ({"methods": ["top_examples"]}, "top_examples gives no film"),
        ({"methods": ["saliency"], "photo": "chelsea", "check": True}, "A check gives no film"),
        ({"methods": ["saliency"], "photo": "chelsea", "first": 30}, "no snapshot between"),
        ({"methods": ["saliency"]}, "Name one input"),
        ({"methods": ["filters"], "fps": 1000}, "less than or equal to 50"),
        ({"methods": ["filters"], "format": "exe"}, "gif"),
    ):  # fmt: skip
        refused = ask.post(f"{lens}/film", json=more)
        assert refused.status_code == 422, more
        assert words in refused.json()["error"]["message"]


def test_it_can_be_stopped_and_has_no_file_then(ask: httpx.Client, lens: str) -> None:  # noqa: F811
    asked = {"methods": ["rise"], "options": {"rise": {"masks": 8000}}, "series": "predictions", "example": 0}
    job = ask.post(f"{lens}/film", json=asked).json()
    until = time.monotonic() + 60
    while job["doing"] != "looking" or job["share"] is None:
        assert time.monotonic() < until, job
        time.sleep(0.01)
        job = ask.get(f"/api/v1/lens/{job['id']}").json()
        if job["state"] == "done":
            pytest.skip("it was done before it could be stopped")
    job = ended(ask, ask.delete(f"/api/v1/lens/{job['id']}").json())
    assert job["state"] == "cancelled"
    assert ask.get(f"/api/v1/lens/{job['id']}/file").status_code == 404
