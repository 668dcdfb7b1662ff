"""Lines of JSON with events of Rucio, read column by column where many lines differ in their values only.

The rows are those of `table_of`, which reads one record after another. Odd lines, which are like few others
or do not parse, are read by it.

    read_event_lines     pages of a file of lines
    EventLines           the templates that its lines have
    EventTemplate        what the names of one template stand for
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightshift.sources.files import (
    DAMAGE,
    is_utf8,
    line_blocks,
    parse_lines,
    read_lines,
    unwrap,
)
from nightshift.sources.templates import NoTemplate, Template
from nightshift.sources.transfers.parts import SCHEMA, table_of
from nightshift.sources.transfers.rucio import STATES, event_type, first_text, flatten, is_event, plan_of

TEMPLATES = 8  # of a file that are remembered
LEARNED = 20  # first lines of a block from which templates are learned
PAGE_ROWS = 100_000


def read_event_lines(path):
    """Yield (page, bad) of JSON lines, plain or .gz. Pages are lists of records until a template is learned
    from an event, then tables of SCHEMA; bad is as in `read_lines`.
    """
    if not is_utf8(path):
        yield from read_lines(path, PAGE_ROWS, fits=is_event)
        return
    lines, tables, bad = EventLines(), [], []
    for block in line_blocks(path):
        if not lines.templates:
            yield lines.read_by_json(block)
            continue
        table, wrong = lines.read(block)
        tables, bad = [*tables, table], bad + wrong
        if sum(map(len, tables)) >= PAGE_ROWS:
            yield pa.concat_tables(tables), bad
            tables, bad = [], []
    if tables:
        yield pa.concat_tables(tables), bad


class EventLines:
    """The lines of a file: the number of the next one, and the templates of earlier ones."""

    def __init__(self):
        self.templates, self.number = [], 1

    def read_by_json(self, block):
        """(records, bad) of a block; where an event is among the records, templates are learned."""
        lines = block.split(b"\n")[:-1]
        numbered = list(enumerate(lines, self.number))
        self.number += len(lines)
        texts = ((number, line.decode(errors="replace")) for number, line in numbered)
        records, bad = parse_lines(texts, fits=is_event)
        if any(map(is_event, records)):
            self.learn(numbered)
        return records, bad

    def learn(self, numbered):
        """Learn the templates of the first LEARNED lines of `numbered`, (number, bytes) each."""
        for _, line in numbered[:LEARNED]:
            try:
                new = EventTemplate(line)
            except (NoTemplate, *DAMAGE):
                continue
            if new.fixed not in [one.fixed for one in self.templates]:
                self.templates = [new, *self.templates][:TEMPLATES]

    def read(self, block):
        """(table of SCHEMA, bad) of a block, in the order of its lines."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        starts, left, parts = np.append(0, ends[:-1] + 1).astype(np.uint64), np.arange(len(ends)), []
        for template in self.templates:
            fits, values = template.match(block, starts[left])
            table = template.table(values, int(fits.sum()))
            if table is not None:
                parts.append((left[fits][: len(table)], table))  # none of lines that hold no event
                left = left[~fits]
        odd = [(self.number + i, block[starts[i] : ends[i]]) for i in left.tolist()]
        numbers, table, bad = read_each(odd)
        parts.append((np.array(numbers, int) - self.number, table))
        self.learn(odd)
        self.number += len(ends)
        order = np.argsort(np.concatenate([lines for lines, _ in parts]), kind="stable")
        table = pa.concat_tables([table for _, table in parts])
        return (table if (np.diff(order) > 0).all() else table.take(order)), bad


def read_each(numbered):
    """(line numbers of the rows, table of SCHEMA, bad) of the lines `numbered`, (number, bytes) each, which
    `json` reads one after another.
    """
    numbers, records, bad = [], [], []
    for number, line in numbered:
        found, wrong = parse_lines([(number, line.decode(errors="replace"))], fits=is_event)
        numbers += [number] * len(found)
        records += found
        bad += wrong
    return numbers, table_of(records), bad


class EventTemplate(Template):
    """How lines with the names of `line` are read as events. NoTemplate where their values decide that."""

    def __init__(self, line):
        super().__init__(line)
        events = [flatten(one) for one in unwrap(self.example)]
        self.event = events[0] if events else {}  # {name: path}; of a line that holds no event, none
        self.fields, self.other, self.rest = plan_of(tuple(self.event))
        for named in (self.fields, self.other):
            if len({field for _, field in named}) < len(named):
                raise NoTemplate("two of its names stand for one field")
        if any(isinstance(path, dict) for path in self.event.values()):
            raise NoTemplate("a field holds an object")
        if {"payload", "data"} & set(self.event):
            raise NoTemplate("its payload may be an object that is written as text")

    def table(self, values, n):
        """The table of SCHEMA of n lines, from {path: Values} as `match` gives it, without rows where such
        lines hold no event; None where each of the lines has to be read by itself.
        """
        if not self.event:
            return SCHEMA.empty_table()
        values = {name: values[path] for name, path in self.event.items()}
        row = {field: values[name].column() for name, field in self.fields}
        more = {name: values[name] for name in self.rest}
        for name, field in self.other:  # used only where the field is empty, as in `read_event`
            n_empty = pc.sum(is_empty(row[field])).as_py() if field in row else n
            if n_empty == n:
                row[field] = values[name].column()
            elif n_empty:
                return None
            else:
                more[name] = values[name]
        row |= {"more": json_column(more), "event_type": type_column(row, more, n)}
        nothing = pa.nulls(n, pa.string())
        return pa.table([nothing if row.get(name) is None else row[name] for name in SCHEMA.names], SCHEMA)


def is_empty(column):
    """Where an Arrow array of text is empty or null: Arrow bool (n,)."""
    return pc.fill_null(pc.equal(column, ""), True)


def json_column(more):
    """JSON objects with the values of `more`, {name: Values}: Arrow array of text; None without any name."""
    if not more:
        return None
    parts = []
    for name in sorted(more):
        parts += [f"{', ' if parts else '{'}{json.dumps(name)}: ", more[name].json_column()]
    return pc.binary_join_element_wise(*parts, "}", "")


def type_column(row, more, n):
    """`event_type` of n rows: Arrow array of text. row : {field: texts}. more : {name: Values}, the rest."""
    nothing = pa.nulls(n, pa.string())
    named = row.get("event_type", nothing).dictionary_encode()
    names = named.dictionary.to_pylist()
    if all(map(str.strip, names)) and not named.indices.null_count:
        return pa.array([event_type({"event_type": one}, None) for one in names], pa.string()).take(
            named.indices
        )
    read = {name: row.get(name, nothing).to_pylist() for name in ("event_type", "reason", "transferred_at")}
    rows = [dict(zip(read, each, strict=True)) for each in zip(*read.values(), strict=True)]
    states = [more[name].to_list() for name in STATES if name in more]
    states = map(first_text, zip(*states, strict=True)) if states else [None] * n
    return pa.array(map(event_type, rows, states), pa.string())
