"""Which way a metric is better, guessed from its name where nobody said it."""

from __future__ import annotations

import re

from epochal.facts.run import Better

_MORE = re.compile(r"(^|[/_\-.])(acc|accuracy|auc|f1|precision|recall|score|r2|iou|bleu|map|top\d)s?($|[/_\-.])")


def better_by_name(series: str) -> Better:
    """`max` for a metric called as accuracies and scores are, `min` for all others."""
    return "max" if _MORE.search(series.lower()) else "min"
