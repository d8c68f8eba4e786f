"""GPUs through NVML, where `pynvml` is installed and there is a driver. They are numbered as `nvidia-smi` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

Source = Callable[[], dict[str, float]]


def gpu_sources(pid: int, *, machine: bool = True, environment: Mapping[str, str] = os.environ) -> dict[str, Source]:
    """A source for each GPU that this process may use, `{}` where there is none.

    With `machine=False` another process tells of the GPUs: this one tells what it has on them, and all of a GPU that
    is its alone.
    """
    nvml = start_nvml()
    if nvml is None:
        return {}
    numbers = visible_gpus(nvml, environment.get("CUDA_VISIBLE_DEVICES"))
    whole = machine or len(numbers) == 1
    sources: dict[str, Source] = {}
    for number in numbers:
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
        except nvml.NVMLError:
            continue  # one that fell off the bus
        sources[f"gpu{number}"] = _source(nvml, handle, f"gpu{number}", pid, whole=whole)
    return sources


def gpu_names(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the GPUs that this process may use."""
    nvml = start_nvml()
    if nvml is None:
        return []
    try:
        numbers = visible_gpus(nvml, environment.get("CUDA_VISIBLE_DEVICES"))
        return [_text(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(number))) for number in numbers]
    except nvml.NVMLError:
        return []


def start_nvml() -> Any | None:
    """NVML, ready to be asked; None where there is no binding, no driver or no GPU."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml if pynvml.nvmlDeviceGetCount() else None
    except Exception:  # noqa: BLE001 - a machine without a GPU says so in many ways
        return None


def visible_gpus(nvml: Any, chosen: str | None) -> list[int]:
    """The numbers of the GPUs that CUDA_VISIBLE_DEVICES lets a process use; all where it is not set.

    As CUDA does, it stops at the first that is not there.
    """
    count = nvml.nvmlDeviceGetCount()
    if chosen is None:
        return list(range(count))
    uuids: list[str] = []
    found: list[int] = []
    for word in map(str.strip, chosen.split(",")):
        if word.isdigit() and int(word) < count:
            found.append(int(word))
        elif word.startswith(("GPU-", "MIG-GPU-")):
            uuids = uuids or [_text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(n))) for n in range(count)]
            asked = word.removeprefix("MIG-").partition("/")[0]
            fits = [n for n, uuid in enumerate(uuids) if uuid.startswith(asked)]
            if len(fits) != 1:
                break
            found += fits
        else:
            break
    return list(dict.fromkeys(found))


def _source(nvml: Any, handle: Any, name: str, pid: int, *, whole: bool) -> Source:
    def memory() -> float:
        info = nvml.nvmlDeviceGetMemoryInfo(handle)
        return 100.0 * float(info.used) / float(info.total)

    def own() -> float | None:
        # In a container NVML may know this process by another number: then nothing is said.
        used = [p.usedGpuMemory for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == pid]
        return used[0] / 1e6 if used and used[0] is not None else None

    asks: dict[str, Callable[[], float | None]] = {f"{name}/process_memory": own}
    if whole:
        asks |= {
            f"{name}/use": lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            f"{name}/memory": memory,
            f"{name}/power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0,
            f"{name}/temperature": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        }

    def take() -> dict[str, float]:
        found: dict[str, float] = {}
        for series, ask in list(asks.items()):
            try:
                value = ask()
            except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
                del asks[series]  # this GPU or driver cannot tell
                continue
            if value is not None:
                found[series] = value
        return found

    return take


def _text(value: str | bytes) -> str:
    """Older bindings give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
