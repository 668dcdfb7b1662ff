"""Lines of JSON that differ in their values only, read many at a time into columns.

A source writes the same names in the same order again and again. A template is the text that such lines
share; between its pieces are scalars, which compiled loops find (`compiled.match_lines`) and Arrow takes as
they stand, so that no value becomes an object of Python. One event of 1.2 kB becomes columns in 3 us here;
with objects of Python, it took 7 us by msgspec, and by `json` 17 us to become a mere dict.

    Template     the text that lines share
    Values       what one field of many lines holds
"""

import json
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.compiled import ESCAPED, NULL, gather, match_lines
from nightshift.sources.files import DAMAGE, as_text

TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null')


class NoTemplate(ValueError):
    """A line has no template: lines like it are read one by one."""


class Template:
    """The text around the values of a `line` (bytes, without its end) of JSON: an object of scalars and of
    other such objects. NoTemplate where it is anything else or has a name twice, one of DAMAGE where it is no
    JSON.

    example : the object, with the path of names to each value in its place.
    """

    def __init__(self, line):
        example = json.loads(line.decode(errors="replace"))
        if not isinstance(example, dict):
            raise NoTemplate("it is no object")
        self.example, self.paths = with_paths(example), []
        add_paths(self.example, self.paths)
        spans = [token.span() for token in TOKEN.finditer(line) if not token[2]]
        if len(spans) != len(self.paths):
            raise NoTemplate("a name stands twice in one object")
        ends = [0, *(end for _, end in spans)]
        begins = [*(begin for begin, _ in spans), len(line)]
        pieces = [line[end:begin] for end, begin in zip(ends, begins, strict=True)]
        self.fixed, self.fixed_ends = (
            b"".join(pieces),
            np.cumsum([len(piece) for piece in pieces], dtype=np.uint64),
        )

    def match(self, block, starts):
        """Match the lines of a block (bytes, a line feed after each line) that begin at `starts`, uint64
        (L,): which of them fit, bool (L,), and {path: Values} of those.
        """
        text = np.frombuffer(block, np.uint8)
        spans = np.empty((len(self.paths), 2, len(starts)), np.int32)
        kinds = np.empty((len(self.paths), len(starts)), np.int8)
        fixed = np.frombuffer(self.fixed, np.uint8)
        fits = match_lines(text, starts, fixed, self.fixed_ends, spans, kinds)
        loaded = [
            load_values(block, span, np.flatnonzero(fits & (kind == ESCAPED)), fits)
            for span, kind in zip(spans, kinds, strict=True)
        ]  # `fits` is final now
        if not fits.all():
            spans, kinds = spans[:, :, fits], kinds[:, fits]
        each = zip(self.paths, spans, kinds, loaded, strict=True)
        return fits, {
            path: Values(text, span, kind, [value for row, value in values.items() if fits[row]])
            for path, span, kind, values in each
        }


def with_paths(example, path=()):
    """The object `example` with the path of names to each value in its place; NoTemplate for a list in it."""
    if any(isinstance(value, list) for value in example.values()):
        raise NoTemplate("it holds a list")
    return {
        name: with_paths(value, (*path, name)) if isinstance(value, dict) else (*path, name)
        for name, value in example.items()
    }


def add_paths(example, paths):
    """Add the paths in an object of `with_paths` to the list `paths`, in their order."""
    for value in example.values():
        if isinstance(value, dict):
            add_paths(value, paths)
        else:
            paths.append(value)


def load_values(block, spans, rows, fits):
    """{row: value} of those of `rows` whose text is JSON; for the others `fits` becomes False."""
    values = {}
    for row in rows:
        begin, end = spans[:, row]
        try:
            values[row] = json.loads(block[begin:end].decode(errors="replace"))
        except DAMAGE:
            fits[row] = False
    return values


@dataclass(frozen=True)
class Values:
    """The values of one field of n lines.

    text : uint8, the block. span : int32 (2, n), where they begin and end in it. kind : int8 (n,), one of the
    kinds in compiled.py. loaded : list of those that are ESCAPED.
    """

    text: np.ndarray
    span: np.ndarray
    kind: np.ndarray
    loaded: list

    def __len__(self):
        return len(self.kind)

    def column(self):
        """`as_text` of each: Arrow array of strings."""
        quotes = (self.text[self.span[0]] == 34) & (self.kind != NULL)
        return self._column(self.span[0] + quotes, self.span[1] - quotes, as_text, self.kind == NULL)

    def json_column(self):
        """Each as JSON: Arrow array of strings."""
        return self._column(*self.span, json.dumps, np.zeros(len(self), bool))

    def to_list(self):
        """The values themselves."""
        return [json.loads(text) for text in self.json_column().to_pylist()]

    def _column(self, begin, end, write, missing):
        offsets = np.zeros(len(self) + 1, np.int32)
        np.cumsum(end - begin, out=offsets[1:])
        valid = pa.array(~missing).buffers()[1] if missing.any() else None
        buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(gather(self.text, begin, end))]
        column = pa.Array.from_buffers(pa.string(), len(self), buffers)
        if not self.loaded:
            return column
        written = pa.array([write(value) for value in self.loaded], pa.string())
        return pc.replace_with_mask(column, pa.array(self.kind == ESCAPED), written)
