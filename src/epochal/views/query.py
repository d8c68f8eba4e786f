"""The small language that finds runs: `iris lr>0.01 and (val_loss<0.3 or tag:best) and not status=crashed`.

    query      = either
    either     = both { "or" both }
    both       = one { ["and"] one }
    one        = ["not"] ( "(" either ")" | test | word )
    test       = field operator value        operator is one of  =  ==  !=  <  <=  >  >=  :  ~

A word is looked for in the run's name, id, project, group and tags, whatever its case. `:` and `~` ask whether the
field contains the value (`tag:` whether it has just that tag). Fields are described at `epochal.views.runs.FIELDS`;
any other is a key of the config, or else a metric, whose last value is meant; `config.x`, `last.x`, `min.x`, `max.x`
and `best.x` say which. Nothing is ever evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from epochal.errors import UsageError

__all__ = ["And", "Comparison", "Not", "Or", "Query", "Word", "parse_query"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator><=|>=|!=|==|[<>=:~])
    | (?P<bracket>[()])
    | (?P<word>[^\s()<>=!:~"']+)
    )""",
    re.VERBOSE,
)
_LONGEST = 10_000
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Word:
    """The run mentions this text somewhere."""

    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field of the run compares with a value; `operator` is one of = != < <= > >= : (contains)."""

    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    query: Query


@dataclass(frozen=True, slots=True)
class And:
    """All of these; of none, true."""

    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of these."""

    queries: tuple[Query, ...]


Query = Word | Comparison | Not | And | Or


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_query(text: str) -> Query:
    """Read a query; UsageError points at the place that cannot be read."""
    if len(text) > _LONGEST:
        raise UsageError(f"a query has at most {_LONGEST:,} characters, this one {len(text):,}")
    return _Parser(text).parse()


class _Parser:
    """One pass over the tokens, one function for each line of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._tokens = self._split()

    def parse(self) -> Query:
        if self._now.kind == "end":
            return And(())
        query = self._either()
        if self._now.kind != "end":
            self._fail("this closes nothing" if self._now.text == ")" else "this was not expected here")
        return query

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                at = next(i for i in range(at, end) if not self._text[i].isspace())
                self._fail("this quotation never ends" if self._text[at] in "\"'" else "this cannot be read", at=at)
            kind = str(match.lastgroup)
            word = match[kind]
            if kind == "text":
                word = re.sub(r"\\(.)", r"\1", word[1:-1])
            elif kind == "word" and word.lower() in ("and", "or", "not"):
                kind, word = "keyword", word.lower()
            tokens.append(_Token(kind, word, match.start(match.lastgroup or 0)))
            at = match.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _either(self) -> Query:
        parts = [self._both()]
        while self._take("keyword", "or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Query:
        parts = [self._one()]
        while True:
            if not self._take("keyword", "and") and not (
                self._now.kind in ("word", "text") or self._now.text in ("(", "not")
            ):
                return parts[0] if len(parts) == 1 else And(tuple(parts))
            parts.append(self._one())

    def _one(self) -> Query:
        if self._take("keyword", "not"):
            return Not(self._nested(self._one))
        if self._take("bracket", "("):
            inside = self._nested(self._either)
            if not self._take("bracket", ")"):
                self._fail("a ')' is missing")
            return inside
        if self._now.kind not in ("word", "text"):
            self._fail("a word or a comparison is missing")
        word = self._next()
        if self._now.kind != "operator":
            return Word(word.text)
        operator = {"==": "=", "~": ":"}.get(self._now.text, self._now.text)
        self._next()
        if self._now.kind not in ("word", "text"):
            self._fail(f"a value is missing after '{operator}'")
        return Comparison(word.text, operator, self._next().text)

    def _nested(self, read: Callable[[], Query]) -> Query:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"this is nested more than {_DEEPEST} deep")
        query = read()
        self._depth -= 1
        return query

    def _next(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _take(self, kind: str, text: str) -> bool:
        if (self._now.kind, self._now.text) != (kind, text):
            return False
        self._at += 1
        return True

    def _fail(self, why: str, *, at: int | None = None) -> NoReturn:
        place = self._now.start if at is None else at
        begin = max(0, place - 60)
        shown = self._text[begin : place + 60].translate(_ONE_LINE)
        raise UsageError(
            f"the query cannot be read: {why}\n    {shown}\n    {' ' * (place - begin)}^",
            hint="for example: lr>0.01 and val_loss<0.3, status=finished, tag:best, not archived=true",
        )


_ONE_LINE = {ord(c): " " for c in "\t\r\n\v\f"}
