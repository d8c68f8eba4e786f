"""What came of a lab, in Python: its trials, the best of them, and what each parameter did."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from epochal.facts.lab import LabInfo, TrialState
from epochal.store import read_lab
from epochal.store.cache import open_place
from epochal.views.effects import measure_effects
from epochal.views.effects_facts import Effects
from epochal.views.effects_words import effect_sentences, interaction_sentence, notes_of, spread_sentence

__all__ = ["LabResult", "read"]


@dataclass(frozen=True, slots=True)
class LabResult:
    """What came of a lab: what it is, and how its trials stand, by number."""

    info: LabInfo
    trials: tuple[TrialState, ...]
    interrupted: bool = False

    @property
    def best(self) -> TrialState | None:
        """The finished trial whose objective is the best, None where none has it."""
        known = [
            (state.metrics[self.info.objective], state)
            for state in self.trials
            if state.status == "finished" and math.isfinite(state.metrics.get(self.info.objective, math.nan))
        ]
        pick = min if self.info.mode == "min" else max
        return pick(known, key=lambda pair: pair[0])[1] if known else None

    def document(self) -> dict[str, Any]:
        """As `epochal lab run --json` prints it."""
        return {
            "lab": self.info.id,
            "trials": [
                {
                    "trial": state.trial.number,
                    "run": state.run,
                    "status": "stopped" if state.status in ("waiting", "running") else state.status,
                    "error": "not begun" if state.status == "waiting" else state.error,
                    "seed": state.trial.seed,
                    "parameters": dict(state.trial.parameters),
                    "metrics": dict(state.metrics),
                    "seconds": state.seconds,
                }
                for state in self.trials
            ],
        }

    def effects(self, objective: str | None = None) -> Effects:
        """What each parameter did to `objective`, the lab's own where none is named, with intervals over repeats.

        Raises UsageError for a metric that no finished trial has, when there are finished trials.
        """
        return measure_effects(self.info, self.trials, objective)

    def sentences(self, objective: str | None = None) -> list[str]:
        """The same in plain sentences, the strongest effect first, and whether the seed outweighs the parameters."""
        effects = self.effects(objective)
        clear = [interaction_sentence(one, effects) for one in effects.interactions if one.clear]
        return [*effect_sentences(effects), *clear, spread_sentence(effects), *notes_of(effects)]


def read(name: str = "latest", *, dir: str | os.PathLike[str] | None = None) -> LabResult:  # noqa: A002 - as `epochal.init` has it
    """What has come of a lab so far; `name` is its id, its name, or `latest`, `dir` the folder of runs or an address.

    Raises NotFoundError naming near ones, DamagedError, FormatVersionError.
    """
    info, states = read_lab(open_place(dir, heavy=False), name)
    return LabResult(info, tuple(states))
