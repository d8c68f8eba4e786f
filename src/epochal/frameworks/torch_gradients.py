"""Which gradients a look records: those that the optimizer gets.

They lie in `.grad` when `run.log` is called, as a rule. But scripts zero them before they log, sum them up over several
backward passes, scale them (`GradScaler`), or spoil them afterwards (in a GAN the generator's loss leaves gradients in
the discriminator too). So while a look is near, two kinds of hooks note what happens, and nothing else:

- one at the entry of every `optimizer.step()`: at that moment gradients are summed up, unscaled and clipped. Where the
  script is known to zero them before it logs, and the first time, they are copied here, in the round of steps that is
  likely to be the last before the look;
- one on up to four parameters, called when a backward pass has left a gradient there.

From the order of these, and from whether the gradient was changed since, `read` concludes what lies in `.grad`.

In most trainings one optimizer steps, and what it got lies in `.grad` until the next batch. Where that was so at a few
looks, one light hook takes the place of all: it notes the parameter's version at every backward pass, so that `read`
knows whether a step came after the last of them. Where none did, and at every so many looks, all is noted again.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from epochal.frameworks.torch_gradient_hooks import GradientCatch, Light, Sentinel, mark
from epochal.frameworks.torch_once import Watching
from epochal.frameworks.torch_scaler import Scalers, UnknownScaleError
from epochal.frameworks.torch_tensors import local

_SENTINELS = 4
_CYCLES = 8
_MORE_ROUNDS = 16
_CALM = 3
"""After so many looks at which all was plain, one light hook does."""
_CALM_LOOKS = 16
"""So many looks it does for; then all is noted for one look again."""
_STEP_SECONDS = 12e-6
"""What the hooks at one step take, PyTorch's way to them and back included."""
_PATIENCE = 64
"""So many backward passes are awaited for two optimizer steps, to learn how many passes one step takes."""

Found = tuple[Sequence[int], list[torch.Tensor], torch.Tensor | None]


class Gradients:
    """The gradients of one model's trainable tensors. `learning` gives these as they are now."""

    def __init__(self, probe: Watching, learning: Callable[[], list[torch.Tensor]]) -> None:
        self.probe, self._learning = probe, learning
        self.scalers = Scalers()
        self.trouble = ""
        self.passed = False
        """Whether a backward pass was seen before the last `read`."""
        self._armed = False
        self._handles: list[Any] = []
        self._sentinels: list[Sentinel] = []
        self._catches: list[GradientCatch] = []
        # What was learned: whether copies at the step are needed, whether hooks on every parameter are, and how many
        # backward passes lay between the last steps.
        self._copying, self._late = True, False
        self._cycles: deque[int] = deque(maxlen=_CYCLES)
        self._searched = False
        # Events while armed: what came last, how many passes since the last step, steps and passes since `arm`.
        self._last = ""
        self._passes = self._steps = self._all_passes = self._first_passes = 0
        self._in_cycle = self._mixed = False
        # Rounds: all optimizers have stepped once. How many there were since `arm`, and from look to look lately.
        self._rounds, self._usual_rounds = 0, 1
        self._stepped: set[int] = set()
        self._optimizers: dict[int, tuple[weakref.ref[Any], list[int]]] = {}
        self._ids: list[int] = []
        self._places: dict[int, int] = {}
        self._copies: dict[int, torch.Tensor] = {}
        self._at_step: dict[int, tuple[int, int]] = {}
        # What the scalers had counted at the last backward pass, and the scale of gradients caught in it.
        self._versions: dict[int, int] = {}
        self._caught_scale: torch.Tensor | None = None
        # Looks at which all was plain, one after another; then the light hook.
        self._calm, self._plain = 0, False
        # For so many looks nothing is taken for sure before it is known anew how many passes a step takes.
        self._doubts = 0
        self._light: Light | None = None

    def arm(self) -> None:
        """Note from now on what happens to the gradients; forget copies made before."""
        if self._light is not None and self._light.stands and self._light.looks < _CALM_LOOKS:
            return
        self._copies.clear()
        self._steps = self._all_passes = self._rounds = 0
        self._stepped.clear()
        self.renew()
        if self._light is not None:
            if self._light.looks < _CALM_LOOKS:
                self._light.arm()
                return
            self._alert(_CALM - 1)
        live = self._learning()
        if not live:
            return
        if not self._armed:
            self._armed = True
            self._last, self._passes, self._in_cycle = "", 0, False
            self._handles = [
                register_optimizer_step_pre_hook(self._before_step),
                register_optimizer_step_post_hook(self._after_step),
            ]
            for sentinel in self._chosen(len(live)):
                sentinel.arm(live[sentinel.index])
        if self._late:
            known = {c.index: c for c in self._catches}
            self._catches = [known.get(k) or GradientCatch(self.probe, k) for k in range(len(live))]
            for catch, parameter in zip(self._catches, live, strict=True):
                catch.arm(parameter)

    def renew(self) -> None:
        """Begin again where other tensors took the places of those that were there."""
        ids = [*map(id, self._learning())]
        if ids != self._ids:
            self.disarm()
            self._ids, self._sentinels, self._catches = ids, [], []
            self._places = {known: k for k, known in enumerate(ids)}
            self._last = ""
            self._steps = self._passes = self._all_passes = 0
            self._optimizers.clear()
            self._copies.clear()
            self._at_step.clear()
            self._alert()

    def rest(self) -> None:
        """No look is near: take hooks away until the next `arm`."""
        if self._light is not None:
            self._light.disarm()

    def _alert(self, calm: int = 0) -> None:
        """Note everything again."""
        if self._light is not None:
            self._light.disarm()
            self._light = None
        self._calm = calm

    def prefer_hooks(self) -> None:
        """All gradients were zero: they are zeroed before the look. Copy them when they are made from now on."""
        if not self._copying and not self._steps:
            self._late = True
        self._copying = True
        self._alert()

    def read(self) -> Found:
        """Which trainable tensors have a gradient, these gradients (plain, dense), and by what to divide them.

        Then, and unless more is to be learned, the hooks are taken away; `arm` puts them there again.
        """
        if self._light is not None:
            seen, gradients, _ = self._read_lightly(self._light)
            return seen, _dense(gradients), None
        self._plain = False
        try:
            there, found, scale = self._read()
        except UnknownScaleError:
            there, found, scale = [], [], None
            self.trouble = (
                "gradients that lie there scaled by one of several GradScalers cannot be told apart and are not "
                "recorded: call run.log() after scaler.step()"
            )
        self.passed = self._all_passes > 0
        if self._rounds:
            self._usual_rounds = self._rounds
        if self._cycles or max((s.count for s in self._sentinels), default=0) > _PATIENCE:
            self.disarm()
        if not self._armed:  # what comes from here on is not seen
            self._last, self._copies = "", {}
        self._calm = self._calm + 1 if self._plain else 0
        if self._calm >= _CALM and not self._armed:
            self._light = Light(self.probe, self._learning()[self._sentinels[0].index])
        return there, _dense(found), scale

    def _read_lightly(self, light: Light) -> Found:
        """What lies in `.grad`, unless something else than a step was last: then none, and all is noted from now on."""
        self.passed = light.passes > 0
        live = self._learning()
        if not any(tensor is light.parameter() for tensor in live):
            self._alert()
        found = _those([None if t.grad is None else local(t.grad) for t in live])
        if not self.passed:
            light.looks += 1
            return found if max(self._cycles, default=1) == 1 else ([], [], None)
        if light.stepped() and found[0]:
            return found
        self._alert()
        self._cycles.clear()
        self._copying, self._doubts = True, _PATIENCE
        self.trouble = (
            "the script began to do something else with gradients between optimizer.step() and run.log(); until it is "
            "known which of them the optimizer gets, for two or three steps, none are recorded"
        )
        return [], [], None

    def _read(self) -> Found:
        live = self._learning()
        grads = [None if t.grad is None else local(t.grad) for t in live]
        if self._last == "step":
            # What the optimizer got lies there still, unless it was zeroed (or changed by the optimizer) since.
            # Of several optimizers, the pass for one may have changed what another got: a GAN in one module.
            spoiled = len(self._optimizers) > 1 or any(mark(live[k]) != was for k, was in self._at_step.items())
            if not spoiled and any(g is not None for g in grads):
                self._copying = False
                self._plain = self._is_plain(live, grads)
                return _those(grads)
            self._copying = True
            return self._copied()
        if self._doubts and not self._cycles:
            self._doubts -= 1
            return [], [], None
        if self._last == "backward" and self._steps and self._within_a_step():
            self._copying = True
            return self._copied()  # passes of the next step, or of another loss than the one that was optimized
        if not self._steps and max(self._cycles, default=1) > 1:
            return [], [], None  # between the passes of one step
        if any(g is not None for g in grads):
            self._copying = len(self._optimizers) > 1
            there, found, _ = _those(grads)
            return there, found, self._scale()
        if self._copies:
            return self._copied()
        caught = {c.index: c.value for c in self._catches if c.value is not None}
        if caught:
            return list(caught), list(caught.values()), self._caught_scale
        if self._last == "backward":
            self._late = True  # zeroed before the look, and no optimizer of PyTorch took them
        return [], [], None

    def _is_plain(self, live: list[torch.Tensor], grads: list[torch.Tensor | None]) -> bool:
        """Whether one optimizer got all these gradients, unscaled, and its step shows in the sentinel's version."""
        if self._late or self.scalers.known or len(self._optimizers) != 1 or len(self._sentinels) != 1:
            return False
        ((optimizer, mine),) = self._optimizers.values()
        sentinel = self._sentinels[0]
        return (
            optimizer() is not None
            and sentinel.index in mine
            and live[sentinel.index]._version != sentinel.version
            and all(g is None or k in mine for k, g in enumerate(grads))
        )

    def _within_a_step(self) -> bool:
        """Whether what backward passes left since the last step is not what the next one will be made with."""
        usual = max(self._cycles) if self._cycles else self._first_passes
        return self._mixed or self._passes < usual

    def _copied(self) -> Found:
        return list(self._copies), list(self._copies.values()), None

    def _scale(self) -> torch.Tensor | None:
        if not self._searched and not self._optimizers:
            self._searched = True
            self.scalers.search()
        return self.scalers.scale(set(self._optimizers), self._versions)

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling() and not _closure(args, kwargs):
            self._step(optimizer)

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A closure makes the gradients inside the step, the last of them last.
        if not torch.compiler.is_compiling() and _closure(args, kwargs):
            self._step(optimizer)

    def _step(self, optimizer: Any) -> None:
        try:
            mine = self._mine(optimizer)
            if mine:
                self.probe.hook_seconds += _STEP_SECONDS
                self._note_step(optimizer, mine)
        except Exception as error:  # noqa: BLE001 - inside the user's optimizer: its step must not fail for us
            self.trouble = f"gradients could not be read at the optimizer's step: {type(error).__name__}: {error}"

    def _note_step(self, optimizer: Any, mine: list[int]) -> None:
        if self._passes:
            if self._in_cycle:
                self._cycles.append(self._passes)
            self._in_cycle = True
        if not self._steps:
            self._first_passes = self._passes
        self._last, self._passes, self._mixed = "step", 0, False
        self._steps += 1
        self._at_step = {s.index: was for s in self._sentinels if (was := s.mark) is not None}
        for sentinel in self._sentinels:
            sentinel.passes = 0
        if id(optimizer) in self._stepped or not self._rounds:
            self._rounds += 1
            self._stepped.clear()
        self._stepped.add(id(optimizer))
        if self._copying and self._may_be_last():
            self._copy(optimizer, mine)

    def _copy(self, optimizer: Any, mine: list[int]) -> None:
        start = thread_time()
        live = self._learning()
        if len(live) != len(self._ids):
            return  # the model is being changed
        scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer unscales by itself
        for k in mine:
            gradient = live[k].grad
            if gradient is not None:
                copy = local(gradient.detach()).clone()
                if isinstance(scale, torch.Tensor):
                    copy.mul_(inverse(scale, copy.device))
                self._copies[k] = copy
        self.probe.hook_seconds += thread_time() - start

    def _may_be_last(self) -> bool:
        """Whether this round may be the last before the look: gradients are copied then, and not in every round.

        It is, where looks lie as many rounds apart as lately. Else the copy is of a round not long before the look.
        """
        n, usual = self._rounds, self._usual_rounds
        return usual <= n < usual + _MORE_ROUNDS or n & (n - 1) == 0

    def _mine(self, optimizer: Any) -> list[int]:
        """Which of the model's trainable tensors an optimizer has."""
        known = self._optimizers.get(id(optimizer))
        if known is not None and known[0]() is optimizer:
            return known[1]
        groups = optimizer.param_groups
        mine = [self._places[id(p)] for group in groups for p in group["params"] if id(p) in self._places]
        if mine:
            self._optimizers[id(optimizer)] = (weakref.ref(optimizer), mine)
            self.scalers.learn(optimizer)
        return mine

    def backward(self, sentinel: Sentinel, parameter: torch.Tensor) -> None:
        """A backward pass has come by a sentinel."""
        if self._last == "backward" and sentinel.passes <= self._passes:
            return  # another sentinel saw this pass before
        if self._last == "step" and (was := self._at_step.get(sentinel.index)) is not None:
            # Added to the gradient that the optimizer got: it was not zeroed, so this is not for the next step.
            self._mixed = mark(parameter) == (was[0], was[1] + 1)
        versions = self.scalers.versions()
        if self._last == "backward" and versions != self._versions:
            for other in self._sentinels:  # a step between the passes that the scaler skipped, for infinities
                other.passes = 0
            sentinel.passes = 1
        self._last, self._passes, self._versions = "backward", sentinel.passes, versions
        self._all_passes += 1
        if self._late:
            try:
                scale = self._scale()
            except UnknownScaleError:
                scale = None
            self._caught_scale = None if scale is None else scale.clone()

    def _chosen(self, count: int) -> list[Sentinel]:
        """At which tensors to stand: some spread over the model, later the one that most passes reach."""
        if any(s.count for s in self._sentinels):
            self._sentinels = [max(self._sentinels, key=lambda s: s.count)]
            self._sentinels[0].passes = 0
            return self._sentinels
        indices = sorted({round(k * (count - 1) / max(1, _SENTINELS - 1)) for k in range(_SENTINELS)})
        self._sentinels = [Sentinel(self, index) for index in indices]
        return self._sentinels

    def disarm(self) -> None:
        """Take all hooks away; what was copied stays to be read."""
        self._armed = False
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for hook in (*self._sentinels, *self._catches):
            hook.disarm()

    def close(self) -> None:
        """Take all hooks away, and leave parameters as if there never were any."""
        self._alert()
        self.disarm()
        for tensor in self._learning():
            if tensor._post_accumulate_grad_hooks == {}:
                tensor._post_accumulate_grad_hooks = None  # type: ignore[assignment] # as it was at first
        self._copies.clear()
        self._catches, self._sentinels, self._ids = [], [], []


def inverse(scale: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What GradScaler multiplies gradients with to unscale them."""
    exact = scale if scale.device.type == "mps" else scale.double()
    return exact.reciprocal().float().to(device, non_blocking=True)


def _those(grads: list[torch.Tensor | None]) -> Found:
    there = [k for k, g in enumerate(grads) if g is not None]
    return there, [g for g in grads if g is not None], None


def _dense(found: list[torch.Tensor]) -> list[torch.Tensor]:
    return [g.to_dense() if g.layout is not torch.strided else g for g in found]


def _closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return callable(args[1] if len(args) > 1 else kwargs.get("closure"))
