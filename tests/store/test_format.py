"""A second reader, written from docs/format.md alone with pyarrow and struct, sees what the first one sees."""

from __future__ import annotations

import json
import re
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from epochal.store import StoredRun
from epochal.store.compact import compact
from tests.store.helpers import begin, child

DOCUMENT = Path(__file__).parents[2] / "docs" / "format.md"
Rows = dict[str, list[tuple[int, float, float]]]


def journal(folder: Path) -> list[tuple[int, int, int, float, float]]:
    """(seq, series number, step, t, v) of every record in the ring."""
    path = folder / "journal.bin"
    if not path.exists():
        return []
    data = path.read_bytes()
    magic, version, size, capacity = struct.unpack_from("<8sIIQ", data)
    assert (magic, version, size) == (b"EPOCHALJ", 2, 40)
    found = []
    for slot in range(capacity):
        series, low, step, t, v, seq = struct.unpack_from("<IIqddQ", data, 64 + 40 * slot)
        if seq and (seq - 1) % capacity == slot and low == seq % 2**32:
            found.append((seq, series, step, t, v))
    return sorted(found)


def writer_rows(run: Path, folder: Path) -> Rows:
    rows: Rows = defaultdict(list)
    records = journal(folder)
    rows_end, skip = 0, set()
    if (file := run / "compact" / f"{folder.name}.parquet").exists():
        table = pq.read_table(file)
        facts = json.loads(table.schema.metadata[b"epochal"])
        skip, rows_end = set(facts["replaces"]), facts["rows_end"]
        for name, step, t, v in zip(*(table[c].to_pylist() for c in ("name", "step", "t", "v")), strict=True):
            rows[name].append((step, t, v))
    for segment in sorted(folder.glob("scalars/*.arrows")):
        if segment.name in skip:
            continue
        reader = pa.ipc.open_stream(segment.read_bytes())
        assert reader.schema.metadata == {b"epochal_format": b"1"}
        while True:
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
            except (StopIteration, pa.ArrowInvalid, OSError):
                break
            buffers = [b for b in batch.column("name").indices.buffers() if b] + [
                b for c in ("step", "t", "v") for b in batch.column(c).buffers() if b
            ]
            words = b"".join(bytes(b) + bytes(-b.size % 8) for b in buffers)
            total = int(metadata[b"rows_end"]) + sum(struct.unpack(f"<{len(words) // 8}Q", words))
            assert int(metadata[b"sum"]) == total % 2**64
            rows_end = int(metadata[b"rows_end"])
            for name, step, t, v in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                rows[name].append((step, t, v))
    names = [json.loads(line) for line in (folder / "names").read_text().splitlines()]
    for seq, series, step, t, v in records:
        if seq > rows_end:
            rows[names[series]].append((step, t, v))
    return rows


def read(run: Path) -> Rows:
    assert json.loads((run / "run.json").read_text())["format_version"] == 1
    folders = sorted(run.glob("w/r*"), key=lambda f: json.loads((f / "state.json").read_text())["started"])
    shown: Rows = {}
    ranks: dict[str, set[str]] = {}
    for folder in folders:
        rank = int(folder.name[1:].partition("-")[0])
        prefix = f"rank{rank}/" if rank else ""
        back = json.loads((folder / "state.json").read_text()).get("rewind_to")
        if back is not None:
            for name in ranks.get(prefix, set()):
                shown[name] = [row for row in shown[name] if row[0] <= back]
        for plain, rows in writer_rows(run, folder).items():
            ranks.setdefault(prefix, set()).add(prefix + plain)
            first = min(step for step, _, _ in rows)
            kept = [row for row in shown.get(prefix + plain, []) if row[0] < first]
            shown[prefix + plain] = kept + sorted(rows, key=lambda row: row[0])
    return {name: rows for name, rows in (shown | reduced(shown, list(ranks))).items() if rows}


def reduced(shown: Rows, prefixes: list[str]) -> Rows:
    found: Rows = {}
    for name in {name.removeprefix(prefix) for prefix in prefixes for name in shown if name.startswith(prefix)}:
        steps: dict[int, list[tuple[float, float]]] = {}
        for prefix in prefixes:
            for step, last in {row[0]: row for row in shown.get(prefix + name, [])}.items():
                steps.setdefault(step, []).append(last[1:])
        if name != "epoch" and not name.startswith("rank"):
            for how, make in (("mean", lambda v: sum(v) / len(v)), ("min", min), ("max", max)):
                found[f"ranks/{how}/{name}"] = [
                    (step, max(t for t, _ in rows), make([v for _, v in rows]))
                    for step, rows in sorted(steps.items())
                    if len(rows) > 1
                ]
    return found


def agree(run: Path) -> bool:
    first = {n: (s.steps.tobytes(), s.t.tobytes(), s.v.tobytes()) for n, s in StoredRun(run).scalars().items()}
    second = {}
    for name, rows in read(run).items():
        steps, t, v = zip(*rows, strict=True)
        second[name] = (np.array(steps, np.int64).tobytes(), np.array(t).tobytes(), np.array(v).tobytes())
    return first == second


def test_a_reader_made_from_the_page_sees_the_same_run(tmp_path: Path) -> None:
    code = """
        import os, sys
        from epochal.store import RunWriter
        w = RunWriter.create(sys.argv[1], project="p", run_id="r")
        for step in range(500):
            w.log({"loss": 1 / (step + 1), "träin\\nacc": float("nan") if step == 3 else -0.0}, step)
            if step % 100 == 99: w.flush()
            if step == 450: os.kill(os.getpid(), 9)
    """
    with child(code, tmp_path) as process:
        process.wait(30)
    run = tmp_path / "p" / "r"
    assert len(read(run)["loss"]) == 451
    assert agree(run)
    writer = begin(tmp_path, run_id="r", resume="must")
    other = begin(tmp_path, run_id="r", resume="allow", rank=3)
    for step in range(400, 420):
        writer.log({"loss": 2.0, "epoch": step / 7}, step)
        other.log({"loss": 3.0}, step)
    assert agree(run)
    writer.finish()
    other.finish()
    assert agree(run)
    assert compact(run).rows == 60
    assert agree(run)
    back = begin(tmp_path, run_id="r", resume="must", rewind_to=405)
    assert agree(run)
    assert len(read(run)["epoch"]) == 6
    back.log({"loss": 4.0}, 411)
    back.finish()
    assert agree(run)


def test_the_page_is_one_page_and_names_everything_that_is_written(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(text.split()) < 1800
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    for file in [writer.path / "run.json", writer.folder / "state.json", writer.folder / "summary.json"]:
        document = json.loads(file.read_text())
        for key in [*document, *document.get("series", {}).get("a", {})]:
            assert re.search(rf"`{key}`", text) or key == "format_version" or key == "series", f"{file.name}: {key}"
    for path in writer.path.rglob("*"):
        if path.is_file():
            assert re.sub(r"\d{8}", "00000000", path.name) in text, path.name
    writer.finish()
