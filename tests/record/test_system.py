"""The machine's numbers: what they are, when they come, and that they disturb nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from epochal.facts import SYSTEM_SERIES, is_system, system_series
from epochal.record import init, system
from epochal.record.system import System, make_sources, rates
from epochal.record.system_gpu import gpu_names, gpu_sources, visible_gpus
from epochal.store import RunWriter, StoredRun
from tests.record.scripts import only_run, script
from tests.store.helpers import begin, wait_until

WITH_SYSTEM = {"EPOCHAL_SYSTEM": "1"}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    made = begin(tmp_path)
    yield made
    made.finish()


def names(run: RunWriter | StoredRun) -> set[str]:
    return {name for name in StoredRun(run.path).scalars() if name.startswith("system/")}


def test_names_of_the_machine() -> None:
    yes = ("system/cpu", "system/gpu0/use", "rank12/system/cpu")
    no = ("loss", "sub/system/cpu", "system", "rankx/system/cpu", "rank/system/cpu", "rank1/loss", "systems/cpu")
    assert all(map(is_system, yes))
    assert not any(map(is_system, no))
    assert system_series("rank3/system/gpu11/power") is SYSTEM_SERIES["gpu/power"]
    assert system_series("system/unheard") is None
    assert system_series("loss") is None


def test_all_that_is_sampled_is_described_and_in_its_range(tmp_path: Path) -> None:
    sources = make_sources(str(tmp_path))
    for source in sources.values():
        source()
    burn = time.thread_time()
    while time.thread_time() - burn < 0.1:
        pass
    (tmp_path / "x").write_bytes(b"x" * 1_000_000)
    found = {name: value for source in sources.values() for name, value in source().items()}
    assert {"cpu", "memory", "process_cpu", "process_memory", "disk_free"} <= found.keys()
    assert all(system_series(f"system/{name}") is not None for name in found)
    assert 0 <= found["cpu"] <= 100
    assert 0 < found["memory"] < 100
    assert found["process_cpu"] > 5
    assert found["process_memory"] == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.2)
    assert found["disk_free"] == pytest.approx(psutil.disk_usage(str(tmp_path)).free / 1e9, rel=0.2)
    assert all(value >= 0 for value in found.values())


def test_rates_are_megabytes_a_second() -> None:
    now = 0.0
    counters: Any = SimpleNamespace(read_bytes=10**9, write_bytes=0)
    take = rates(lambda: counters, {"disk_read": "read_bytes", "disk_write": "write_bytes"}, clock=lambda: now)
    assert take() == {}
    now = 4.0
    counters = SimpleNamespace(read_bytes=10**9 + 8_000_000, write_bytes=2_000_000)
    assert take() == {"disk_read": 2.0, "disk_write": 0.5}
    now = 5.0
    counters = SimpleNamespace(read_bytes=5, write_bytes=2_000_000)  # counted from zero again
    assert take() == {"disk_write": 0.0}
    now = 7.0
    counters = SimpleNamespace(read_bytes=4_000_005, write_bytes=2_000_000)
    assert take() == {"disk_read": 2.0, "disk_write": 0.0}
    counters = None  # a container without disks
    assert take() == {}


def test_samples_come_soon_then_regularly_and_at_the_end(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "FIRST_SECS", 0.05)
    monkeypatch.setattr(system, "LAST_SECS", 0.0)
    at: list[int | None] = [None]
    began = time.time()
    sampler = System(writer, lambda: at[0], period_secs=0.1)
    run = StoredRun(writer.path)
    wait_until(lambda: bool(run.refresh() or run.series_names()) and "system/cpu" in run.scalars())
    at[0] = 7
    time.sleep(0.35)
    at[0] = 9
    sampler.close()
    writer.flush()
    series = StoredRun(writer.path).scalars()["system/process_memory"]
    assert series.steps[0] == 0
    assert 7 in series.steps.tolist()
    assert series.steps[-1] == 9
    assert 3 <= len(series.v) <= 40
    assert began <= series.t[0] <= series.t[-1] <= time.time()
    assert StoredRun(writer.path).info().last_step is None
    assert not sampler._thread.is_alive()


def test_a_run_shorter_than_the_first_sample_has_none(writer: RunWriter) -> None:
    sampler = System(writer, lambda: 3)
    time.sleep(0.05)
    began = time.monotonic()
    sampler.close()
    assert time.monotonic() - began < 2
    assert names(writer) == set()


def test_better_is_said_of_series_where_one_way_is(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "FIRST_SECS", 0.0)
    sampler = System(writer, lambda: 3, period_secs=0.1)
    wait_until(lambda: "system/disk_free" in StoredRun(writer.path).scalars())
    sampler.close()
    writer.flush()
    better = {name: summary.better for name, summary in StoredRun(writer.path).summaries().items()}
    assert (better["system/memory"], better["system/disk_free"], better["system/cpu"]) == ("min", "max", None)


def test_a_source_that_fails_is_left_out_and_told(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(writer._drain, "problem", said.append)
    monkeypatch.setattr(system, "FIRST_SECS", 0.0)

    def broken() -> dict[str, float]:
        raise OSError("no such counter")

    monkeypatch.setattr(system, "make_sources", lambda *_, **__: {"good": lambda: {"cpu": 1.0}, "bad": broken})
    sampler = System(writer, lambda: 0, period_secs=0.1)
    wait_until(lambda: bool(said))
    sampler.close()
    writer.flush()
    assert said == ["system/bad is not recorded any more: OSError: no such counter"]
    assert names(writer) == {"system/cpu"}
    assert [(n.code, n.count) for n in StoredRun(writer.path).notices()] == [("dropped_system", 3)]


def test_a_machine_that_tells_nothing_is_no_trouble(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(writer._drain, "problem", said.append)

    def none(*_: object, **__: object) -> dict[str, Any]:
        raise ImportError("no psutil here")

    monkeypatch.setattr(system, "make_sources", none)
    monkeypatch.setattr(system, "FIRST_SECS", 0.0)
    sampler = System(writer, lambda: 0)
    sampler._thread.join(10)
    sampler.close()
    assert said == ["the machine's numbers are not recorded: ImportError: no psutil here"]


def test_when_nobody_holds_the_run_any_more_it_ends(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "FIRST_SECS", 0.0)

    def gone() -> int:
        raise ReferenceError

    sampler = System(writer, gone, period_secs=0.1)
    sampler._thread.join(10)
    assert not sampler._thread.is_alive()


def test_a_sample_costs_next_to_nothing(tmp_path: Path) -> None:
    sources = make_sources(str(tmp_path)).values()
    best = 1.0
    for _ in range(20):
        began = time.thread_time()
        for source in sources:
            source()
        best = min(best, time.thread_time() - began)
    assert best < 0.01, "more than 0.1 % of ten seconds"


def test_by_default_a_run_records_the_machine_and_the_rest(tmp_path: Path) -> None:
    done = script(
        """
        import time
        with epochal.init("defaults") as run:
            for step in range(30):
                run.log({"loss": 1.0 / (step + 1)}, step=step)
                time.sleep(0.1)
            print("trained")
        """,
        tmp_path / "runs",
        env={"EPOCHAL_SYSTEM": "", "EPOCHAL_CONSOLE": "", "EPOCHAL_CODE": ""},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", "")
    run = only_run(tmp_path / "runs")
    assert {"system/cpu", "system/memory", "system/process_memory", "system/disk_free"} <= names(run)
    steps = run.scalars()["system/cpu"].steps.tolist()
    assert len(steps) == 2
    assert 3 <= steps[0] <= 24
    assert steps[1] == 29
    assert run.info().last_step == 29
    assert run.info().notices == ()
    assert [line.text for line in run.console()] == ["trained"]
    assert run.packages()["numpy"]


def test_a_run_that_logs_nothing_else_has_no_steps_and_is_resumed_from_the_start(tmp_path: Path) -> None:
    body = """
    import time
    with epochal.init("p", id="one", resume="allow", system=0.1) as run:
        print(run.step)
        time.sleep(1.2)
    """
    for _ in range(2):
        done = script(body, tmp_path / "runs")
        assert done.stdout == "None\n", done.stderr
    run = only_run(tmp_path / "runs")
    assert names(run)
    assert run.info().last_step is None
    assert run.info().last_epoch is None


@pytest.mark.parametrize(
    "ending", ["", "os._exit(0)", "raise SystemExit(0)", "del run", "import gc; run = None; gc.collect()"]
)
def test_it_keeps_no_process_alive_and_says_nothing(tmp_path: Path, ending: str) -> None:
    began = time.monotonic()
    body = f"run = epochal.init('p', system=0.1)\nimport time\ntime.sleep(0.3)\n{ending}\n"
    done = script(body, tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_samples_nothing(tmp_path: Path) -> None:
    done = script(
        """
        import threading, time
        run = epochal.init("p", system=0.1)
        time.sleep(0.4)
        pid = os.fork()
        if pid == 0:
            time.sleep(0.5)
            assert threading.active_count() == 1, threading.enumerate()
            run.finish()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        run.log({"x": 1.0})
        """,
        tmp_path / "runs",
    )
    assert done.returncode == 0, done.stderr
    assert only_run(tmp_path / "runs").info().status == "finished"


def test_another_process_of_the_machine_tells_of_itself(tmp_path: Path) -> None:
    body = "import time\nwith epochal.init('p', id='one', system=0.1) as run:\n    time.sleep(0.5)\n"
    for rank in ("0", "1"):
        script(body, tmp_path / "runs", env={"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"})
    found = [name for name in only_run(tmp_path / "runs").scalars() if "/gpu" not in name]
    assert "system/cpu" in found
    of_the_other = {name for name in found if not name.startswith("system/")}
    assert of_the_other == {"rank1/system/process_cpu", "rank1/system/process_memory"}


def test_threads_end_with_the_run(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with init("p", dir=tmp_path, system=True, console=True, code=True, alerts=lambda alert: None) as run:
        run.alert("hello")
        assert len(set(threading.enumerate()) - before) >= 4
    assert set(threading.enumerate()) - before == set()


def test_nothing_is_imported_or_begun_that_is_switched_off(tmp_path: Path) -> None:
    body = """
    import threading
    run = epochal.init("p", system=False, console=False, code=False)
    print(sorted(t.name for t in threading.enumerate() if t.name.startswith("epochal")))
    print([name for name in ("psutil", "pynvml", "urllib.request", "importlib.metadata") if name in sys.modules])
    print("write" in vars(sys.stdout))
    run.finish()
    print(sorted(path.name for path in run.path.glob("w/*/*")))
    """
    done = script(body, tmp_path / "runs")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["['epochal-fold']", "[]", "False"], done.stderr
    assert "console.jsonl" not in lines[3]
    assert "code" not in lines[3]
    assert only_run(tmp_path / "runs").info().code == {}


# --- GPUs: the binding is the real one; NVIDIA's driver is not here, so its answers are given by hand. ---------------


@pytest.fixture
def nvml() -> Any:
    return pytest.importorskip("pynvml", reason="needs nvidia-ml-py")


def test_without_a_driver_there_are_no_gpus(nvml: Any) -> None:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        assert gpu_sources(os.getpid()) == {}
        assert gpu_names() == []
    else:
        pytest.skip("there is a driver here")


class Driver:
    """Answers of two GPUs in the structures that the binding gives; one of them is asked for what it cannot tell."""

    def __init__(self, nvml: Any, pid: int) -> None:
        self.nvml, self.pid, self.calls = nvml, pid, 0

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers: dict[str, Any] = {
            "nvmlInit": self.init,
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetHandleByIndex": self.handle,
            "nvmlDeviceGetName": self.name,
            "nvmlDeviceGetUUID": self.uuid,
            "nvmlDeviceGetUtilizationRates": self.utilization,
            "nvmlDeviceGetMemoryInfo": self.memory,
            "nvmlDeviceGetPowerUsage": self.power,
            "nvmlDeviceGetTemperature": self.temperature,
            "nvmlDeviceGetComputeRunningProcesses": self.processes,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(self.nvml, name, answer)

    def init(self) -> None: ...

    def count(self) -> int:
        return 2

    def handle(self, index: int) -> int:
        return index

    def name(self, handle: int) -> str | bytes:
        return b"GPU of an old binding" if handle else "GPU of a new one"

    def uuid(self, handle: int) -> str:
        return f"GPU-{handle}a1b2c3d4"

    def utilization(self, handle: int) -> Any:
        return self.nvml.c_nvmlUtilization_t(gpu=37, memory=4)

    def memory(self, handle: int) -> Any:
        return self.nvml.c_nvmlMemory_t(total=80_000_000_000, free=60_000_000_000, used=20_000_000_000)

    def power(self, handle: int) -> int:
        self.calls += 1
        if handle:
            raise self.nvml.NVMLError(self.nvml.NVML_ERROR_NOT_SUPPORTED)
        return 312_500

    def temperature(self, handle: int, sensor: int) -> int:
        assert sensor == self.nvml.NVML_TEMPERATURE_GPU
        return 61

    def processes(self, handle: int) -> list[Any]:
        others = [self.nvml.c_nvmlProcessInfo_t(pid=self.pid + 1, usedGpuMemory=1)]
        return [*others, self.nvml.c_nvmlProcessInfo_t(pid=self.pid, usedGpuMemory=1_500_000_000)] if handle else []


@pytest.fixture
def driver(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver(nvml, 4321)
    made.put(monkeypatch)
    return made


def sample(**options: Any) -> dict[str, float]:
    return {name: value for take in gpu_sources(4321, **options).values() for name, value in take().items()}


def test_what_is_read_of_gpus(driver: Driver) -> None:
    sources = gpu_sources(4321, environment={})
    for _ in range(3):
        found = {name: value for take in sources.values() for name, value in take().items()}
    assert found == {
        "gpu0/use": 37.0,
        "gpu0/memory": 25.0,
        "gpu0/power": 312.5,
        "gpu0/temperature": 61.0,
        "gpu1/use": 37.0,
        "gpu1/memory": 25.0,
        "gpu1/temperature": 61.0,
        "gpu1/process_memory": 1500.0,
    }
    assert driver.calls == 4, "what a GPU cannot tell it is asked once"
    assert all(system_series(f"system/{name}") is not None for name in found)
    assert gpu_names({}) == ["GPU of a new one", "GPU of an old binding"]


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [0]),
        ("7,0", []),
        ("GPU-1a1b", [1]),
        ("GPU-1a1b2c3d4,GPU-0a", [1, 0]),
        ("GPU-9", []),
        ("MIG-GPU-0a1b2c3d4/1/0", [0]),
        ("none", []),
    ],
)
def test_which_gpus_a_process_may_use(nvml: Any, chosen: str | None, found: list[int]) -> None:
    assert visible_gpus(nvml, chosen) == found


@pytest.mark.usefixtures("driver")
def test_another_process_tells_of_a_gpu_that_is_its_alone() -> None:
    assert sample(machine=False, environment={}) == {"gpu1/process_memory": 1500.0}
    alone = sample(machine=False, environment={"CUDA_VISIBLE_DEVICES": "0"})
    assert set(alone) == {"gpu0/use", "gpu0/memory", "gpu0/power", "gpu0/temperature"}


@pytest.mark.usefixtures("driver")
def test_gpus_are_recorded_under_their_numbers(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "FIRST_SECS", 0.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    sampler = System(writer, lambda: 0, period_secs=0.1)
    wait_until(lambda: "system/gpu1/use" in StoredRun(writer.path).scalars())
    sampler.close()
    assert StoredRun(writer.path).scalars()["system/gpu0/power"].v[0] == 312.5
