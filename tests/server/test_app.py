"""The whole app, asked as the Studio asks it, over real runs."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from epochal.server.app import make_app
from epochal.store.library import Library
from epochal.wire import schema, schema_arrays
from epochal.wire.frames import decode
from tests.server.asking import Client
from tests.server.recorded import STEPS, begin, fill, record, weights


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error; any other shape fails."""
    document = schema.ErrorDocument.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert document.error.message
    assert "Traceback" not in answer.text
    return answer.status_code, document.error.code


def test_documents_are_what_their_models_say(client: Client, base: str) -> None:
    models: list[tuple[str, type[schema.Document]]] = [
        ("/api/v1/studio", schema.StudioDocument),
        ("/api/v1/runs", schema.RunTable),
        (base, schema.RunDetail),
        (f"{base}/graph", schema.GraphDocument),
    ]
    for path, model in models:
        answer = client.get(path)
        assert answer.status_code == 200
        model.model_validate_json(answer.content)


def test_a_row_says_what_was_recorded(client: Client) -> None:
    (row,) = client.get("/api/v1/runs").json()["runs"]
    assert (row["name"], row["status"], row["tags"], row["total_epochs"]) == ("Brave Falcon", "finished", ["best"], 3)
    assert row["config"] == {"lr": 0.1, "epochs": 3, "model/depth": 2}
    assert row["parameters"] == 12 * 4 + 12 + 36
    loss = row["metrics"]["loss"]
    assert (loss["n"], loss["last"], loss["nan"], loss["inf"]) == (STEPS + 2, None, 1, 1)
    assert (loss["min"], loss["min_step"], loss["max"]) == (1 / STEPS, STEPS - 1, 1.0)
    assert row["spark"]["name"] == "val_loss"
    assert len(row["spark"]["values"]) == STEPS


def test_the_detail_says_where_everything_is(client: Client, base: str) -> None:
    detail = client.get(base).json()
    assert detail["series"] == ["epoch", "loss", "val_loss"]
    assert detail["snapshots"] == [0, 10, 20, 30, 40, 50]
    assert (detail["epoch_steps"], detail["epochs"]) == ([0, 20, 40], [0.0, 1.0, 2.0])
    assert (detail["graph"], detail["network"]) == (True, True)
    tensors = {t["series"]: t for t in detail["tensors"]}
    assert tensors["param/layers.0.weight"]["shape"] == [12, 4]
    assert tensors["param/layers.0.weight"]["dtype"] == "float32"
    assert (tensors["param/layers.0.weight"]["frames"], tensors["param/layers.0.weight"]["rows"]) == (6, 6)
    assert (tensors["grad/layers.0.weight"]["frames"], tensors["grad/layers.0.weight"]["shape"]) == (0, [12, 4])
    assert tensors["act/layers.0"]["shape"] is None
    before, after = weights(0)["layers.0.bias"], weights(50)["layers.0.bias"]
    assert tensors["param/layers.0.bias"]["change"] == pytest.approx(
        abs(after.mean() - before.mean()) / before.std(), rel=1e-5
    )
    first, second = detail["layers"]
    assert (first["layer"], first["activation"], first["inputs"], first["outputs"]) == ("layers.0", "relu", 4, 12)
    assert first["bias"]["series"] == "param/layers.0.bias"
    assert second["layer"] == "layers.2"  # not in the graph: by its name


def test_scalars_come_as_logged_with_their_gaps(client: Client, base: str) -> None:
    answer = client.get(f"{base}/scalars", params={"name": ["loss", "epoch"], "points": 0})
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.content).read_all()
    counts = json.loads(answer.headers["epochal-series"])
    assert counts["loss"] == {"n": STEPS + 2, "kept": STEPS + 2, "nan": 1, "inf": 1}
    assert json.loads(table.schema.metadata[b"epochal.series"]) == counts
    names, values = table["name"].to_pylist(), table["v"].to_numpy()
    loss = values[[n == "loss" for n in names]]
    np.testing.assert_array_equal(loss, [*(1 / (s + 1) for s in range(STEPS)), np.nan, np.inf])
    part = client.get(f"{base}/scalars?name=val_loss&start=5&end=9")
    assert pa.ipc.open_stream(part.content).read_all()["step"].to_pylist() == [5, 6, 7, 8, 9]


def test_frames_are_bit_for_bit_the_parameters(client: Client, base: str) -> None:
    answer = client.get(f"{base}/frames", params={"series": "param/layers.0.weight"})
    header, arrays = decode(answer.content)
    schema_arrays.FramesHeader.model_validate(header)
    expected = np.stack([weights(step)["layers.0.weight"] for step in range(0, STEPS, 10)])
    assert arrays["steps"].tolist() == list(range(0, STEPS, 10))
    assert arrays["frames"].tobytes() == expected.tobytes()
    assert (header["limit"], header["total"], header["stride"]) == (float(np.abs(expected).max()), 6, 1)
    change = decode(client.get(f"{base}/frames?series=param/layers.0.weight&mode=change").content)[1]["frames"]
    np.testing.assert_array_equal(change[1:], np.diff(expected, axis=0))


def test_one_statistic_of_all_tensors_is_what_their_histograms_say(client: Client, base: str) -> None:
    for kind, column in (("grad", "norm"), ("param", "std"), ("act", "dead")):
        header, arrays = decode(client.get(f"{base}/statistics", params={"kind": kind, "column": column}).content)
        schema_arrays.StatisticsHeader.model_validate(header)
        detail = client.get(base).json()
        assert header["series"] == [t["series"] for t in detail["tensors"] if t["kind"] == kind and t["rows"]]
        assert arrays["starts"][-1] == len(arrays["steps"]) == len(arrays["values"])
        for i, series in enumerate(header["series"]):
            told, whole = decode(client.get(f"{base}/histograms", params={"series": series}).content)
            part = slice(*arrays["starts"][i : i + 2])
            np.testing.assert_array_equal(arrays["steps"][part], whole["steps"])
            expected = whole["statistics"][:, told["columns"].index(column)]
            np.testing.assert_array_equal(arrays["values"][part], expected)
    assert client.get(f"{base}/statistics?kind=grad&column=weight").status_code == 422
    assert client.get(f"{base}/statistics?kind=loss&column=norm").status_code == 422


def test_histograms_are_numpys(client: Client, base: str) -> None:
    header, arrays = decode(client.get(f"{base}/histograms?series=grad/layers.0.bias").content)
    schema_arrays.HistogramsHeader.model_validate(header)
    values = weights(20)["layers.0.bias"] / 10
    row = arrays["steps"].tolist().index(20)
    counts, _ = np.histogram(values, 64, (arrays["lo"][row], arrays["hi"][row]))
    np.testing.assert_array_equal(arrays["counts"][row], counts)
    statistics = dict(zip(header["columns"], arrays["statistics"][row], strict=True))
    assert statistics["mean"] == pytest.approx(float(values.mean()))
    assert statistics["size"] == 12


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/runs/iris/nothing", (404, "not_found")),
        ("/api/v1/runs/../../etc/passwd", (404, "not_found")),
        ("/api/v1/runs/%2e%2e/%2e%2e", (422, "usage")),
        ("/api/v1/runs/%252e%252e/x", (404, "not_found")),
        ("/api/v1/runs/..%5C..%5Cx/y", (422, "usage")),
        ("/api/v1/runs/iris/a%00b", (422, "usage")),
        ("/api/v1/runs/.trash/x", (422, "usage")),
        ("/api/v1/runs/iris/C:", (422, "usage")),
        ("/api/v1/runs/a%2fb/c", (404, "not_found")),
        ("/api/v1/runs/%2Fetc/passwd", (404, "not_found")),
        ("/api/v1/runs/iris/%2e", (422, "usage")),
        ("/api/v1/runs/" + "a" * 150 + "/x", (422, "usage")),
        ("/api/v1/nothing", (404, "not_found")),
        ("/api/v2/runs", (404, "not_found")),
        ("/api/v1/runs/", (404, "not_found")),
        ("/api/v1/runs?colour=red", (422, "usage")),
    ],
)
def test_wrong_addresses_are_refused_in_one_shape(client: Client, path: str, expected: tuple[int, str]) -> None:
    assert error(client.get(path)) == expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("/scalars?name=nothing", (404, "not_found")),
        ("/scalars?points=many", (422, "usage")),
        ("/scalars?points=-1", (422, "usage")),
        ("/scalars?start=1e400", (422, "usage")),
        ("/scalars?start=99999999999999999999", (422, "usage")),
        ("/frames", (422, "usage")),
        ("/frames?series=layers.0.weight", (422, "usage")),
        ("/frames?series=param/nothing", (404, "not_found")),
        ("/frames?series=param/../x", (404, "not_found")),
        ("/frames?series=act/layers.0", (404, "not_found")),
        ("/frames?series=grad/layers.0.weight", (404, "not_found")),
        ("/frames?series=param/layers.0.weight&mode=sideways", (422, "usage")),
        ("/histograms?series=param/nothing", (404, "not_found")),
        ("/weather", (404, "not_found")),
        ("/export?what=weights", (422, "usage")),
        ("/export?what=weights&format=exe", (422, "usage")),
        ("/export?what=weights&format=gif&size=99999999x1", (422, "usage")),
        ("/export?what=weights&format=gif&fps=nan", (422, "usage")),
    ],
)
def test_wrong_questions_are_refused_in_one_shape(
    client: Client, base: str, rest: str, expected: tuple[int, str]
) -> None:
    assert error(client.get(base + rest)) == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/runs"), ("PUT", "/api/v1/studio"), ("DELETE", "/api/v1/events"), ("POST", "/"), ("BREW", "/x")],
)
def test_other_methods_are_told_which_are_allowed(client: Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert error(answer) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_what_did_not_change_is_not_sent_again(client: Client, base: str) -> None:
    for path in ("/api/v1/runs", base, f"{base}/graph", f"{base}/scalars", f"{base}/frames?series=param/layers.0.bias"):
        first = client.get(path)
        again = client.get(path, headers={"if-none-match": f'W/"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert client.get(path, headers={"if-none-match": 'W/"other"'}).status_code == 200


def test_different_questions_have_different_etags(client: Client, base: str) -> None:
    paths = [
        f"{base}/scalars",
        f"{base}/scalars?points=100",
        f"{base}/scalars?name=loss",
        f"{base}/frames?series=param/layers.0.bias",
        f"{base}/frames?series=param/layers.0.weight",
        f"{base}/frames?series=param/layers.0.bias&mode=since",
        f"{base}/histograms?series=param/layers.0.bias",
    ]
    assert len({client.get(path).headers["etag"] for path in paths}) == len(paths)


def test_only_what_cannot_change_is_kept_for_ever(client: Client, base: str, tmp_path: Path) -> None:
    version = client.get(base).json()["row"]["version"]
    series = "series=param/layers.0.bias"
    assert "immutable" in client.get(f"{base}/frames?{series}&v={version}").headers["cache-control"]
    assert client.get(f"{base}/frames?{series}&v=older").headers["cache-control"] == "private, no-cache"
    assert client.get(f"{base}/frames?{series}").headers["cache-control"] == "private, no-cache"
    writer = begin(tmp_path)
    try:
        fill(writer)
        writer.flush()
        live = Client(make_app(tmp_path))
        there = f"/api/v1/runs/{writer.project}/{writer.run_id}"
        running = live.get(there).json()["row"]
        assert running["status"] == "running"
        asked = live.get(f"{there}/frames?{series}&v={running['version']}")
        assert asked.headers["cache-control"] == "private, no-cache"
    finally:
        writer.finish()


def test_a_version_stays_while_nothing_changes_whatever_is_read(client: Client, base: str) -> None:
    before = client.get("/api/v1/runs").json()["runs"][0]["version"]
    for rest in ("", "/scalars?points=0", "/frames?series=param/layers.0.bias", "/graph"):
        client.get(base + rest)
    assert client.get(base).json()["row"]["version"] == before
    assert client.get("/api/v1/runs").json()["runs"][0]["version"] == before


def test_json_is_squeezed_for_those_who_take_it(client: Client, base: str) -> None:
    plain = client.get(base, headers={"accept-encoding": "identity"})
    squeezed = client.get(base, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert squeezed.headers["content-encoding"] == "gzip"
    assert squeezed.content == plain.content  # the client unpacks it
    assert int(squeezed.headers["content-length"]) < len(plain.content) / 2
    assert gzip.compress(plain.content)
    assert "Accept-Encoding" in plain.headers["vary"]


def test_a_long_answer_is_sent_plain_to_this_machine_and_squeezed_to_another(tmp_path: Path) -> None:
    record(tmp_path, config={"text": "x" * 300_000})
    app = make_app(tmp_path, allowed_hosts=["lab.example", "127.0.0.1"])
    near = Client(app).get("/api/v1/runs", headers={"accept-encoding": "gzip"})
    far = Client(app, peer="192.0.2.7").get("/api/v1/runs", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in near.headers
    assert far.headers["content-encoding"] == "gzip"
    assert far.content == near.content


@pytest.fixture
def mine(tmp_path: Path) -> tuple[Client, str, Path]:
    """A client, a run's address and the root, for tests that change things."""
    run = record(tmp_path)
    return Client(make_app(tmp_path)), f"/api/v1/runs/{run}", tmp_path


def test_people_change_names_tags_notes_and_archive(mine: tuple[Client, str, Path]) -> None:
    client, path, _ = mine
    changes: dict[str, Any] = {"name": "Final", "tags": [" a ", "b", "a", " "], "notes": "Ω", "archived": True}
    row = client.patch(path, json=changes).json()
    schema.RunRow.model_validate(row)
    assert {k: row[k] for k in changes} == {**changes, "tags": ["a", "b"]}
    partly = client.patch(path, json={"notes": ""}).json()
    assert (partly["name"], partly["notes"], partly["archived"]) == ("Final", "", True)
    assert client.patch(path, json={}).json()["name"] == "Final"
    for _ in range(20):  # quicker than a file's clock ticks
        name = str(os.urandom(4).hex())
        client.patch(path, json={"name": name})
        assert client.get(path).json()["row"]["name"] == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{nope",
        b"[]",
        b'{"name": ""}',
        b'{"name": 5}',
        b'{"colour": "red"}',
        b'{"tags": "a"}',
        b'{"name": "' + b"x" * 300 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_wrong_change_changes_nothing(mine: tuple[Client, str, Path], body: bytes) -> None:
    client, path, _ = mine
    answer = client.patch(path, content=body, headers={"content-type": "application/json"})
    assert error(answer) == (422, "usage")
    assert client.get(path).json()["row"]["name"] == "Brave Falcon"


def test_a_change_sent_as_plain_text_is_refused(mine: tuple[Client, str, Path]) -> None:
    # Plain text needs no permission of the browser's to be sent from anywhere.
    client, path, _ = mine
    answer = client.patch(path, content=b'{"name": "evil"}', headers={"content-type": "text/plain"})
    assert error(answer) == (422, "usage")
    assert client.get(path).json()["row"]["name"] == "Brave Falcon"


def test_a_deleted_run_is_gone_and_comes_back(mine: tuple[Client, str, Path]) -> None:
    client, path, _ = mine
    scalars = client.get(f"{path}/scalars").content
    assert client.delete(path).json() == {"id": path.removeprefix("/api/v1/runs/")}
    assert error(client.get(path)) == (404, "not_found")
    assert error(client.get(f"{path}/scalars")) == (404, "not_found")
    assert error(client.delete(path)) == (404, "not_found")
    assert client.get("/api/v1/runs").json()["runs"] == []
    restored = client.post(f"{path}/restore")
    assert schema.RunRow.model_validate(restored.json()).name == "Brave Falcon"
    assert client.get(f"{path}/scalars").content == scalars
    assert error(client.post(f"{path}/restore"))[0] in (404, 422)


def test_a_server_that_only_shows_changes_nothing(shown: tuple[Path, str], base: str) -> None:
    client = Client(make_app(shown[0], writable=False))
    assert client.get("/api/v1/studio").json()["writable"] is False
    assert error(client.patch(base, json={"name": "x"})) == (403, "read_only")
    assert error(client.delete(base)) == (403, "read_only")
    assert error(client.post(f"{base}/restore")) == (403, "read_only")
    assert client.get(base).status_code == 200


def test_a_root_that_is_not_there_is_told_and_appears_once_made(tmp_path: Path) -> None:
    client = Client(make_app(tmp_path / "later"))
    table = client.get("/api/v1/runs").json()
    assert table["runs"] == []
    assert [n["code"] for n in table["notices"]] == ["root_missing"]
    record(tmp_path / "later")
    table = client.get("/api/v1/runs").json()
    assert (len(table["runs"]), table["notices"]) == (1, [])
    shutil.rmtree(tmp_path / "later")
    assert client.get("/api/v1/runs").json()["runs"] == []


def test_runs_that_cannot_be_read_are_told_and_the_others_go_on(mine: tuple[Client, str, Path]) -> None:
    client, path, root = mine
    damaged, newer = root / "iris" / "20200101-000000-aaaaaa", root / "iris" / "20200101-000000-bbbbbb"
    for folder, text in ((damaged, "{"), (newer, '{"format_version": 99, "created": 1}')):
        (folder / "w").mkdir(parents=True)
        (folder / "run.json").write_text(text, encoding="utf-8")
    table = client.get("/api/v1/runs").json()
    assert len(table["runs"]) == 1
    assert sorted(n["code"] for n in table["notices"]) == ["damaged", "format_version"]
    assert error(client.get(f"/api/v1/runs/iris/{damaged.name}")) == (422, "damaged")
    assert error(client.get(f"/api/v1/runs/iris/{newer.name}/scalars")) == (422, "format_version")
    assert client.get(path).status_code == 200


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    project, run_id = record(outside).split("/")
    record(root)
    (root / "iris" / "20200101-000000-linked").symlink_to(outside / project / run_id)
    (root / "linked").symlink_to(outside / project)
    client = Client(make_app(root))
    table = client.get("/api/v1/runs").json()
    assert len(table["runs"]) == 1
    assert [n["code"] for n in table["notices"]] == ["outside", "outside"]
    assert error(client.get("/api/v1/runs/iris/20200101-000000-linked")) == (404, "not_found")
    assert error(client.get(f"/api/v1/runs/linked/{run_id}/scalars")) == (404, "not_found")


def test_a_root_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    run = record(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    client = Client(make_app(tmp_path / "link"))
    assert client.get(f"/api/v1/runs/{run}").status_code == 200
    assert client.get("/api/v1/runs").json()["notices"] == []


def test_odd_configs_do_not_break_the_table(tmp_path: Path) -> None:
    config = {"big": 2**70, "half": "\ud800", "nan": float("nan"), "list": [1, {"a": None}], "long": "x" * 5000}
    run = record(tmp_path, config=config)
    client = Client(make_app(tmp_path))
    row = schema.RunTable.model_validate_json(client.get("/api/v1/runs").content).runs[0]
    assert (row.config["big"], row.config["half"], row.config["nan"]) == (2**70, "?", "NaN")
    assert client.get(f"/api/v1/runs/{run}").status_code == 200


def test_a_library_can_be_handed_in(shown: tuple[Path, str]) -> None:
    assert len(Client(make_app(Library(shown[0]))).get("/api/v1/runs").json()["runs"]) == 1


def test_the_token_stands_before_the_api_and_not_before_the_page(shown: tuple[Path, str]) -> None:
    client = Client(make_app(shown[0], token="sixteen-letters-or-more"))
    assert error(client.get("/api/v1/runs")) == (401, "token")
    assert client.get("/").status_code in (200, 503)
    assert client.get("/?token=sixteen-letters-or-more").status_code == 303
    assert client.get("/api/v1/runs").status_code == 200


def test_the_description_is_served_as_it_is_committed(client: Client) -> None:
    served = client.get("/api/v1/openapi.json").json()
    committed = json.loads((Path(__file__).parents[2] / "web/src/wire/openapi.json").read_text(encoding="utf-8"))
    assert served["info"].pop("version") != committed["info"].pop("version")
    assert served == committed
