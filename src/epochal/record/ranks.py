"""Which of a training's processes this one is, as launchers and frameworks say it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from epochal.errors import UsageError
from epochal.store.process import identity

__all__ = ["Board", "Group", "Place", "find_place", "machine"]


class Board(Protocol):
    """Where the first process of a training pins what the others need to know."""

    def post(self, key: str, text: str) -> None:
        """Pin a text; an earlier one of the same key is gone."""
        ...

    def read(self, key: str) -> str | None:
        """The text of a key, None while there is none. Never waits."""
        ...


class Group(Board, Protocol):
    """The processes of a training as their framework knows them."""

    @property
    def rank(self) -> int:
        """This process's number among them."""
        ...

    @property
    def world_size(self) -> int:
        """How many they are."""
        ...

    def local_rank(self) -> int:
        """How many of the lower ranks on this machine have asked for the group so far. Never waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process's place in a training: `rank` of `world_size`, `local_rank` of those on this machine.

    `launch` is what this start of processes says of itself, '' where it says nothing that tells it from others; `sure`
    says that no other start says the same. `elastic` processes are started anew by a parent that stays, `attempt`
    counts how often that was. `settled` says whether the local rank is known, and not only guessed.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    launch: str = ""
    sure: bool = False
    elastic: bool = False
    attempt: int = 0
    group: Group | None = None
    settled: bool = True

    def settle(self) -> Place:
        """This place with its local rank, once those before it have come: where no launcher said it, the group does."""
        if self.settled or self.group is None:
            return self
        return replace(self, local_rank=self.group.local_rank(), settled=True)


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The variables in which a launcher says its facts; of those in one tuple, the first that is set counts."""

    rank: str
    size: tuple[str, ...]
    local: tuple[str, ...]
    launch: tuple[tuple[str, ...], ...]
    sure: bool = False


_LAUNCHERS = (
    # torchrun, accelerate, deepspeed, and whoever sets by hand what torch.distributed reads.
    _Launcher("RANK", ("WORLD_SIZE",), ("LOCAL_RANK",), (("MASTER_ADDR",), ("MASTER_PORT",))),
    _Launcher(
        "OMPI_COMM_WORLD_RANK",
        ("OMPI_COMM_WORLD_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        (("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMIX_ID"),),
        sure=True,
    ),
    _Launcher(
        "SLURM_PROCID",
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        ("SLURM_LOCALID",),
        (("SLURM_JOB_ID", "SLURM_JOBID"),),
        sure=True,
    ),
    _Launcher("PMI_RANK", ("PMI_SIZE",), ("MPI_LOCALRANKID",), (("PMI_ID", "PMI_JOBID", "HYDI_JOBID"),), sure=True),
)
_ATTEMPT = ("TORCHELASTIC_RESTART_COUNT",)

_GROUPS = {"torch.distributed": "epochal.frameworks.torch_distributed:group"}
"""Module -> where to ask for the group: only modules that are imported already can have made one."""


def find_place(
    rank: int | None = None, world_size: int | None = None, *, environ: Mapping[str, str] | None = None
) -> Place:
    """Find this process's place: as given, else as the framework knows it, else as the launcher says.

    Raises UsageError where what is given cannot be.
    """
    variables = os.environ if environ is None else environ
    launched = next(filter(None, (_read(launcher, variables) for launcher in _LAUNCHERS)), None)
    said = launched or Place()
    group = _find_group()
    if group is not None:
        known = launched is not None or group.world_size == 1
        said = replace(said, rank=group.rank, world_size=group.world_size, group=group, settled=known)
    if rank is None and world_size is None:
        return said
    size = world_size if world_size is not None else max(said.world_size, (rank or 0) + 1)
    at = rank if rank is not None else said.rank if size > 1 else 0
    if type(at) is not int or type(size) is not int or not 0 <= at < size:
        raise UsageError(
            f"rank is {at!r} of world_size {size!r}", hint="ranks are whole numbers from 0 to world_size - 1"
        )
    return replace(said, rank=at, world_size=size) if size > 1 else Place(local_rank=said.local_rank)


def machine() -> str:
    """A word for the machine, or the container, that this process runs in."""
    facts = identity()
    return f"{facts['host']} {facts.get('scope', '')}".strip()


def _read(launcher: _Launcher, variables: Mapping[str, str]) -> Place | None:
    """The place that a launcher's variables tell; None where they are not set or cannot be."""
    rank = _number(variables, (launcher.rank,))
    size = _number(variables, launcher.size)
    if rank is None or size is None or not rank < size:
        return None
    told = [_first(variables, names) for names in launcher.launch]
    elastic = variables.get("TORCHELASTIC_RUN_ID")
    if elastic and elastic != "none":
        told = [elastic]  # a new attempt may meet at another port
    return Place(
        rank=rank,
        world_size=size,
        local_rank=_number(variables, launcher.local) or 0,
        launch=" ".join([launcher.rank, str(size), *told, variables.get("SLURM_STEP_ID", "")]) if all(told) else "",
        sure=launcher.sure,
        elastic=elastic is not None,
        attempt=_number(variables, _ATTEMPT) or 0,
    )


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")


def _number(variables: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    text = _first(variables, names)
    return int(text) if text.isascii() and text.isdigit() else None


def _find_group() -> Group | None:
    for module, target in _GROUPS.items():
        if module in sys.modules:
            where, _, name = target.partition(":")
            found: Group | None = getattr(importlib.import_module(where), name)()
            if found is not None:
                return found
    return None
