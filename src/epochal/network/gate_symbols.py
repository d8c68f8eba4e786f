"""Sizes that are not known in advance are kept as expressions; PyTorch *evaluates* them as Python when it loads.

So they are parsed here, by a parser that evaluates nothing, and only a small arithmetic comes out again: numbers,
symbols, and functions of arithmetic and comparison. The text that PyTorch gets is written anew from what was parsed.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from epochal.network.gate_rules import Refused, brief

__all__ = ["expression"]

_LONGEST = 4000
_DEEPEST = 60
_LARGEST = 2**64
_POWERS = 4
"""How many powers and shifts one expression may hold: ten nested powers of ten fill the memory of any machine."""

_SYMBOL = re.compile(r"(s|u|zuf|zf|z|i)\d{1,6}")
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")
_FUNCTIONS = frozenset(
    {
        "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Equality", "FloorDiv", "FloorToInt", "GreaterThan",
        "Identity", "IntTrueDiv", "FloatTrueDiv", "IsNonOverlappingAndDenseIndicator", "LessThan", "Max", "Min", "Mod",
        "ModularIndexing", "Mul", "Not", "Or", "PythonMod", "Rational", "RoundDecimal", "RoundToInt",
        "StrictGreaterThan", "StrictLessThan", "ToFloat", "TruncToFloat", "TruncToInt", "Unequality", "Where",
        "ceiling", "floor",
    }
)  # fmt: skip
_POWER_FUNCTIONS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift", "RShift"})
_ASSUMPTIONS = frozenset({"positive", "nonnegative", "negative", "nonpositive", "nonzero", "zero", "integer", "real",
                          "finite", "even", "odd", "rational"})  # fmt: skip
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def expression(value: Any, where: str) -> str:
    """The expression again, written anew, when it is plain arithmetic over symbols."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isascii() or not value.isprintable():
        raise Refused(where, f"{brief(value)} is not a size expression")
    if value.count("(") + value.count("[") > _LONGEST // 10 or _depth(value) > _DEEPEST:
        raise Refused(where, f"{brief(value)} is nested too deeply for a size")
    try:
        tree = ast.parse(value, mode="eval")
        _Checker(where).check(tree.body)
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(where, f"{brief(value)} is not a size expression") from error


def _depth(value: str) -> int:
    depth = deepest = 0
    for character in value:
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        deepest = max(deepest, depth)
    # Signs nest too, without brackets: `- - - x`.
    return deepest + max((len(run) for run in re.findall(r"[-+~\s]+", value)), default=0)


class _Checker:
    """Walks one expression, counting what could grow."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._powers = 0

    def check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=bool()):
                return
            case ast.Constant(value=int() | float()):
                self._number(node)
            case ast.Name(id=word):
                if word not in ("true", "false") and not _SYMBOL.fullmatch(word):
                    self._refuse(f"the name {brief(word)}")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
                self.check(operand)
            case ast.BinOp(op=operator, left=left, right=right):
                if isinstance(operator, ast.Pow | ast.LShift | ast.RShift):
                    self._power(right)
                elif not isinstance(operator, _OPERATORS):
                    self._refuse(f"the operator {type(operator).__name__}")
                self.check(left)
                self.check(right)
            case ast.BoolOp(values=values):
                for value in values:
                    self.check(value)
            case ast.Compare(left=left, ops=operators, comparators=others):
                if not all(isinstance(operator, _COMPARISONS) for operator in operators):
                    self._refuse("a comparison other than of numbers")
                for value in (left, *others):
                    self.check(value)
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=keywords):
                self._call(function, arguments, keywords)
            case _:
                self._refuse(f"{type(node).__name__.lower()} {brief(ast.unparse(node), 60)}")

    def _call(self, function: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> None:
        match function, arguments:
            case "Symbol", [ast.Constant(value=str() as symbol)] if _SYMBOL.fullmatch(symbol):
                plain = all(isinstance(k.value, ast.Constant) and isinstance(k.value.value, bool) for k in keywords)
                if not plain or any(k.arg not in _ASSUMPTIONS for k in keywords):
                    self._refuse(f"assumptions about the symbol {symbol}")
                return
            case "Float", [ast.Constant(value=str() as digits)] if _NUMBER.fullmatch(digits):
                if any(k.arg not in ("precision", "dps") or not _small(k.value, 200) for k in keywords):
                    self._refuse("a number of unusual precision")
                return
            case "Integer", [argument] if not keywords:
                match argument:
                    case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as digits_node) | (
                        ast.Constant() as digits_node
                    ):
                        self._number(digits_node)
                    case _:
                        self._refuse("an integer that is not a number")
                return
            case _:
                pass
        if keywords:
            self._refuse(f"keyword arguments of {brief(function)}")
        if function in _POWER_FUNCTIONS and len(arguments) == 2:
            self._power(arguments[1])
        elif function not in _FUNCTIONS:
            self._refuse(f"the function {brief(function)}")
        for argument in arguments:
            self.check(argument)

    def _power(self, exponent: ast.expr) -> None:
        self._powers += 1
        match exponent:
            case ast.Call(func=ast.Name(id="Integer"), args=[inner], keywords=[]):
                small = _small(inner, 8)
            case ast.Call(func=ast.Name(id="Rational"), args=[top, bottom], keywords=[]):
                small = _small(top, 8) and _small(bottom, 8)
            case _:
                small = _small(exponent, 8)
        if not small or self._powers > _POWERS:
            self._refuse("a power or shift that may grow without bound")

    def _number(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            self._refuse(f"the number {brief(value)}")

    def _refuse(self, what: str) -> None:
        raise Refused(self._where, f"a size expression may not hold {what}")


def _small(node: ast.expr, largest: int) -> bool:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _small(operand, largest)
        case ast.Constant(value=int() as value):
            return not isinstance(value, bool) and abs(value) <= largest
        case _:
            return False
