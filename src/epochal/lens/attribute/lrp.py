"""Layer-wise relevance propagation: a score shared out among the input's values, layer by layer."""

from __future__ import annotations

from typing import Any

import torch

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Forward, Subject
from epochal.lens.attribute.lrp_rules import LRPRule, Relevance, passing
from epochal.lens.attribute.shared import of_input
from epochal.lens.attribution import Attribution
from epochal.lens.layers import Kept

__all__ = ["lrp"]

_CAPTIONS = {
    "epsilon": "LRP-ε: the score shared out backwards by what each input adds to it (Bach et al. 2015)",
    "z+": "LRP-z⁺: the score shared out backwards among what speaks for it (Bach et al. 2015, Montavon et al. 2017)",
}


def lrp(
    network: Any, image: Any, *, target: Any = None, rule: LRPRule = "epsilon", epsilon: float = 1e-6
) -> Attribution:
    """The target's score, shared out backwards layer by layer until each value of the input has its relevance.

    `rule` is `epsilon` (the share of an input is what it adds to the answer, weak answers being damped by `epsilon`;
    with a small one and rectifiers only, this is input times gradient) or `z+` (only what adds speaks, biases get
    nothing, batch normalisation is drawn into the layer before it). `.map` is the sum over the channels. Relevance
    should add up to the score: `.numbers["conservation_error"]` says by how much of the score it does not (biases keep
    a part of it; with `z+` only where nothing but the bias speaks).

    S. Bach and others: On Pixel-Wise Explanations (2015); G. Montavon and others: Explaining Nonlinear Classification
    Decisions with Deep Taylor Decomposition (2017). Raises NetworkError for operations that have no rule, such as
    attention, softmax or gates.
    """
    if rule not in _CAPTIONS:
        raise UsageError(f"There is no rule {rule!r}.", hint=f"Known: {', '.join(_CAPTIONS)}.")
    if not (isinstance(epsilon, int | float) and epsilon >= 0 and (epsilon > 0 or rule == "z+")):
        raise UsageError(f"epsilon must be above 0; it is {epsilon!r}.")
    subject = network if isinstance(network, Subject) else Subject(network)
    leaf = subject.example(image).requires_grad_()
    with subject.asking(gradients=True):
        start = leaf.clone()
        with Relevance(rule, float(epsilon), leaf):
            scores = subject.outputs(start)
    with subject.asking(gradients=False):
        same = torch.allclose(scores.detach(), subject.outputs(leaf.detach()), rtol=1e-3, atol=1e-4, equal_nan=True)
    if not same:
        raise NetworkError("LRP cannot follow this network: run layer by layer, it does not give the same scores.")
    if not torch.isfinite(scores).all():
        raise NetworkError("The network puts out values that are not finite: there is nothing to look at.")
    forward = Forward(subject, leaf, scores, subject.target_of(scores[0], target), Kept())
    with passing(forward.chosen, leaf):
        relevance = leaf.detach() * forward.gradient()
    total, score = float(relevance.cpu().sum(dtype=torch.float64)), forward.score
    error = abs(total - score) / abs(score) if score else float("inf")
    notes = (f"relevance adds up to {total:.3g} for a score of {score:.3g}",) if error > 0.05 else ()
    return of_input(
        subject,
        relevance,
        method="lrp",
        target=forward.target,
        score=score,
        caption=_CAPTIONS[rule],
        drawn="summed",
        units="score",
        notes=notes,
        numbers={"relevance": total, "conservation_error": error},
    )
