"""What a run is told and comes to: `wandb.config`, `wandb.summary`, `define_metric`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from epochal.dropin.wandb.run import Run

__all__ = ["Config", "Metric", "Summary"]


class Config(MutableMapping[str, Any]):
    """The run's settings: `config.lr`, `config["lr"]`, `config.update({...})`. Every change is recorded."""

    def __init__(self, run: Run) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_items", {})

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        raise TypeError("a setting of a run cannot be taken away")

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._items[name]
        except KeyError:
            raise AttributeError(f"the run's config has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, d: Any = (), allow_val_change: bool | None = None, **more: Any) -> None:  # type: ignore[override]
        """Add settings, or change some."""
        given = d if isinstance(d, Mapping) else vars(d) if hasattr(d, "__dict__") else dict(d)
        items = {str(name): value for name, value in {**given, **more}.items()}
        self._items.update(items)
        self._run._recorded.set_config(items)

    def setdefaults(self, d: Mapping[str, Any]) -> None:
        """Add the settings that are not there yet."""
        self.update({name: value for name, value in d.items() if name not in self._items})

    def as_dict(self) -> dict[str, Any]:
        """A copy as a dictionary."""
        return dict(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


class Summary(MutableMapping[str, Any]):
    """What the run came to: the last value of each series (or the best, after `define_metric(summary=...)`), and what
    was set by hand, which is recorded as a number of the last step."""

    def __init__(self, run: Run) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_items", {})
        object.__setattr__(self, "_set", set())

    def _log(self, name: str, value: Any) -> None:
        """Take a logged number."""
        if name in self._set:
            return
        how, old = self._run._summary_of(name), self._items.get(name)
        if how in ("min", "max") and isinstance(old, float) and not (value < old if how == "min" else value > old):
            return
        self._items[name] = value

    def _now(self) -> dict[str, Any]:
        self._run._settle()
        found: dict[str, Any] = self._items
        return found

    def __getitem__(self, name: str) -> Any:
        return self._now()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._items[name] = value
        self._set.add(name)
        if isinstance(value, bool | int | float) or hasattr(value, "item"):
            self._run._recorded.aside({name: value})
        else:
            kept = {key: self._items[key] for key in self._set if not isinstance(self._items[key], bool | int | float)}
            self._run._recorded.set_config({"summary": kept})

    def __delitem__(self, name: str) -> None:
        del self._items[name]
        self._set.discard(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def __getattr__(self, name: str) -> Any:
        try:
            return self._now()[name]
        except KeyError:
            raise AttributeError(f"the run's summary has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return repr(self._now())


class Metric:
    """What `define_metric` returns."""

    def __init__(self, name: str, step_metric: str | None, summary: str | None, goal: str | None, hidden: bool) -> None:
        self.name, self.step_metric, self.summary, self.goal, self.hidden = name, step_metric, summary, goal, hidden

    @property
    def better(self) -> str | None:
        """Which way is better, where something says so."""
        words = {"min": "min", "minimize": "min", "max": "max", "maximize": "max", "best": None}
        return words.get(self.goal or "") or words.get(self.summary or "")
