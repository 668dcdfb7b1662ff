"""The parameters that a notebook declares: the one reader of the cell tagged `parameters`.

A line is `name: type = literal  # meaning; in RANGE`. It is read as Python reads it, and the range from the
end of its comment: an interval such as `[1, inf)` or `(0, 1)`, or a set such as `{auto, csv, json}`. A
parameter without a range may have any value of its type. Lists and mappings may say what their values are,
`list[int]` or `dict[str, float]`, and the range is then that of each value.
"""

import ast
import io
import json
import math
import re
import tokenize
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

RANGE = re.compile(r"; in (?:([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])|\{([^{}]*)\})\s*$")


class Range(NamedTuple):
    """Numbers between `low` and `high`; the ends belong to it where has_low, has_high say so."""

    low: float
    high: float
    has_low: bool
    has_high: bool

    def __contains__(self, value):
        above = value >= self.low if self.has_low else value > self.low
        return above and (value <= self.high if self.has_high else value < self.high)

    def __str__(self):
        return f"{'[' if self.has_low else '('}{self.low:g}, {self.high:g}{']' if self.has_high else ')'}"


class Choice(tuple):
    """Texts of which one must be taken."""

    __slots__ = ()

    def __str__(self):
        return ", ".join(map(repr, self))


class Parameter(NamedTuple):
    """One declared parameter. kind : its annotation as text; range : a Range, a Choice or None; meaning : its
    comment, range included.
    """

    name: str
    kind: str
    default: object
    meaning: str
    range: object


def declared(notebook):
    """The parameters that a `notebook`, a dict, declares, in their order: [Parameter]; none where it has no
    such cell.

    ValueError names a default that is no literal, and a range that cannot be read.
    """
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    return [one for cell in cells for one in parameters_in("".join(cell["source"]))]


@lru_cache(maxsize=256)
def parameters_in(source):
    """The parameters that the code of one cell declares: a tuple of Parameter."""
    lines = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for one in ast.parse(source).body:
        if not isinstance(one, ast.AnnAssign | ast.Assign) or one.value is None:
            continue
        target = one.target if isinstance(one, ast.AnnAssign) else one.targets[0]
        name = ast.unparse(target)
        try:
            default = ast.literal_eval(one.value)
        except ValueError:
            raise ValueError(
                f"the default of the parameter {name} is no literal: {ast.unparse(one.value)[:80]}"
            ) from None
        kind = ast.unparse(one.annotation) if isinstance(one, ast.AnnAssign) else type(default).__name__
        meaning = lines.get(one.end_lineno, "#").removeprefix("#").strip()
        found.append(Parameter(name, kind, default, meaning, range_in(name, meaning)))
    return tuple(found)


def range_in(name, meaning):
    """The range at the end of the comment `meaning` of the parameter `name`: a Range, a Choice, or None where
    there is none.
    """
    if not (match := RANGE.search(meaning)):
        if re.search(r"; in [\[({]", meaning):
            raise ValueError(f"the range of the parameter {name} cannot be read: {meaning[-60:]}")
        return None
    opens, low, high, closes, choice = match.groups()
    if choice is not None:
        return Choice(one.strip().strip("\"'") for one in choice.split(","))
    try:
        bounds = Range(float(low), float(high), opens == "[", closes == "]")
    except ValueError:
        raise ValueError(
            f"the range of the parameter {name} is no pair of numbers: {meaning[-60:]}"
        ) from None
    if math.isnan(bounds.low) or not bounds.low < bounds.high:
        raise ValueError(f"the range of the parameter {name} holds nothing: {meaning[-60:]}")
    return bounds


@lru_cache(maxsize=256)
def _declared_at(path, stamp):
    return {one.name: one for one in declared(json.loads(Path(path).read_text(encoding="utf-8")))}


def declared_at(path):
    """{name: Parameter} that the notebook at `path` declares."""
    return _declared_at(str(path), Path(path).stat().st_mtime_ns)


def completed(path, settings):
    """All parameters of the notebook at `path`, {name: value}: `settings`, over the declared defaults."""
    return {name: one.default for name, one in declared_at(path).items()} | settings
