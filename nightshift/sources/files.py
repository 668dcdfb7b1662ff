"""Files of records as their producers write them: JSON in any of its layouts, and tables of text.

matching_files   which files a path or a pattern names; no_file: why none
open_text        plain or .gz, UTF-8 with or without a mark, UTF-16 with one
line_blocks      a file of lines in UTF-8, as bytes
read_records     pages of records, whatever the layout, and what did not parse
require_kind     the same pages; one line where none of the records is of a kind
"""

import csv
import glob
import gzip
import itertools
import json
import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = 2**20  # characters that JSON is read by
SEPARATORS = ",;\t|"  # of the columns of a table
BETWEEN = re.compile(r"[\s,]*")
PACKED = {
    b"\x1f\x8b": "packed by gzip and not called .gz",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    # by their first bytes
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx)",
    b"ARROW1": "an Arrow file (Feather), to be saved as Parquet",
    b"\x80\x04\x95": "a pickle of Python, which can run programs",
    b"\x80\x05\x95": "a pickle of Python, which can run programs",
    b"Obj\x01": "Avro",
}
# the one array of an answer
WRAPPERS = ("hits", "data", "records", "results", "events", "items", "rows", "lumisections", "histograms")
DAMAGE = (ValueError, RecursionError)  # what json raises; RecursionError for 1,000 brackets and more


class LayoutError(ValueError):
    """A file was read, and is not what it should be: one line that says what was found and what is needed."""


def matching_files(pattern):
    """Paths of the files that `pattern` names, sorted; a relative one counts from the repository, and none is
    an empty list.

    A path that exists is taken as it is, whatever letters it holds; only what does not exist is a pattern
    with *, ?, [...] and **.
    """
    path = str(REPOSITORY / Path(pattern).expanduser())
    if os.path.isfile(path):
        return [path]
    return sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))


def no_file(pattern):
    """One line that says why `pattern` names no file."""
    pattern = str(pattern)
    path = REPOSITORY / Path(pattern).expanduser()
    if not pattern.strip():
        return "the source is empty: name its files"
    return (
        f"{pattern} is a folder: name its files, such as {pattern.rstrip('/')}/*"
        if path.is_dir()
        else f"no file matches {pattern}"
    )


def open_text(path):
    """The text file `path`, plain or .gz, open for reading; bytes that are not of its encoding become
    U+FFFD.
    """
    opened = gzip.open if str(path).endswith(".gz") else open
    with open(path, "rb") as file:
        head = file.read(6)
    packed = next((what for magic, what in PACKED.items() if head.startswith(magic)), "")
    if packed and opened is open:
        raise LayoutError(
            f"it is {packed}: needed is text such as CSV in UTF-8, plain or in a file called .gz"
        )
    with opened(path, "rb") as file:
        mark = file.read(2)
    encoding = (
        "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    )  # PowerShell's > writes the former
    return opened(path, "rt", encoding=encoding, errors="replace")


def blocks_of(file, number, size=2**23):
    """Yield (number of its first line, text) of the rest of an open text file in blocks of whole lines, about
    `size` characters each; the next line has the `number`.
    """
    rest = ""
    while text := file.read(size):
        text = rest + text
        cut = text.rfind("\n") + 1
        block, rest = text[:cut], text[cut:]
        yield number, block
        number += block.count("\n")
    yield number, rest


def as_text(value):
    """The JSON `value` as the source wrote it; missing stays missing. Half of a surrogate pair, which no file
    of ours can hold, becomes a question mark.
    """
    if value is None or not isinstance(value, str):
        return value if value is None else json.dumps(value)
    return value if value.isascii() else value.encode(errors="replace").decode()


def is_action(record):
    """Whether `record` is no record but a line of Elasticsearch's bulk format, which says what becomes of
    the next one: {"index": {"_id": ...}}.
    """
    if len(record) != 1:
        return False
    [(name, value)] = record.items()
    names_place = isinstance(value, dict) and all(key.startswith("_") or key == "routing" for key in value)
    return name in ("index", "create") and names_place


def unwrap(record, keep_hits=False):
    """Yield the records that `record`, one JSON value, stands for.

    The answer of a search holds many ({"hits": {"hits": [...]}}, {"data": [...]}); a hit ({"_source": {...}})
    and a document of MONIT ({"data": {...}, "metadata": {...}}) hold one each. Anything else stands for
    itself, and so does a hit with `keep_hits`, for its "_id".
    """
    if not isinstance(record, dict):
        yield record
        return
    if is_action(record):
        return
    inner = record.get("hits") if isinstance(record.get("hits"), dict) else record
    array = next((inner[name] for name in WRAPPERS if isinstance(inner.get(name), list)), None)
    if array is None and len(record) == 1:
        [array] = record.values()
    if isinstance(array, list) and all(isinstance(one, dict) for one in array):
        for one in array:
            yield from unwrap(one, keep_hits)
    elif isinstance(record.get("_source"), dict):
        yield from (record,) if keep_hits else unwrap(record["_source"])
    elif isinstance(record.get("data"), dict) and ("metadata" in record or len(record) == 1):
        yield from unwrap(record["data"], keep_hits)
    else:
        yield record


def sniff_layout(path):
    """How the text file `path` is laid out: "lines" (a JSON value each), "documents" (over several lines),
    "array", "table" or "empty".
    """
    with open_text(path) as file:
        head = [line for line in file.read(BLOCK).splitlines() if line.strip()]
    first = head[0].strip() if head else ""
    if not first:
        return "empty"
    if re.search(r"\.(csv|tsv)(\.|$)", Path(path).name):
        return "table"
    if first.startswith("["):
        return "array"
    if first.startswith("{"):
        lines = any(line.startswith("{") and parses(line) for line in head[:100])
        return "lines" if lines or not parses_as_document(path) else "documents"
    named_json = ".json" in Path(path).name
    return "table" if not named_json and max(first.count(mark) for mark in SEPARATORS) >= 2 else "lines"


def parses(text):
    """Whether `text` is one JSON value."""
    try:
        json.loads(text)
    except DAMAGE:
        return False
    return True


def parses_as_document(path):
    """Whether the file `path` begins with one whole JSON object, over however many lines."""
    try:
        next(iter_documents(path, ""))
    except (*DAMAGE, StopIteration):
        return False
    return True


def iter_documents(path, opening):
    """Yield the JSON values of a file one by one: the elements of arrays (`opening` "["), or values after one
    another (`opening` "").

    Memory holds the value that is being read, and a block. ValueError where the text breaks off, with the
    number of values before.
    """
    decoder, n, size, at = json.JSONDecoder(), 0, BLOCK, len(opening)
    with open_text(path) as file:
        text = file.read(BLOCK).lstrip()
        while True:
            at = BETWEEN.match(text, at).end()
            if opening and text.startswith("]", at):  # a page of an API may follow, and be another array
                rest = (text[at + 1 :] + file.read(BLOCK)).lstrip()
                if not rest.startswith("["):
                    return
                text, at = rest, 1
                continue
            try:
                value, at = decoder.raw_decode(text, at)
            except DAMAGE as error:
                more = file.read(size)
                if not more and at == len(text) and not opening:
                    return
                if not more:
                    raise ValueError(f"its JSON breaks off after {n:,} records: {error}") from None
                text, at, size = text[at:] + more, 0, 2 * size
                continue
            n, size = n + 1, BLOCK
            yield value


def read_table(path, chunk_rows):
    """Yield (records, bad) of a table of text with one of SEPARATORS; every cell is text, an
    empty one is None.
    """
    with open_text(path) as lines:
        header = next(filter(str.strip, lines), "")
        separator = max(SEPARATORS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        rows = csv.reader(lines, delimiter=separator)
        while chunk := [(rows.line_num + 1, row) for row in itertools.islice(rows, chunk_rows)]:
            good = [row for _, row in chunk if len(row) == len(names)]
            bad = [
                (number, f"{len(row)} columns, not {len(names)}", separator.join(row))
                for number, row in chunk
                if row and len(row) != len(names)
            ]
            yield [{name: cell or None for name, cell in zip(names, row, strict=True)} for row in good], bad


def read_lines(path, chunk_rows, keep_hits=False):
    """Yield (records, bad) of JSON lines, each record unwrapped."""
    with open_text(path) as lines:
        numbered = enumerate((line.rstrip("\n") for line in lines), 1)
        while chunk := list(itertools.islice(numbered, chunk_rows)):
            yield parse_lines(chunk, keep_hits)


def parse_lines(numbered, keep_hits=False):
    """(records, bad) of JSON lines, (line number, text) each."""
    records, bad = [], []
    for number, line in numbered:
        try:
            values = list(unwrap(json.loads(line), keep_hits)) if line.strip() else []
        except DAMAGE as error:
            bad.append((number, str(error), line))
            continue
        records += [value for value in values if isinstance(value, dict)]
        bad += [(number, "no JSON object", line) for value in values if not isinstance(value, dict)]
    return records, bad


def is_utf8(path):
    """Whether the text file `path`, plain or .gz, is read as UTF-8."""
    with open_text(path) as file:
        return file.encoding == "utf-8-sig"


def line_blocks(path, first=2**18, size=2**22):
    """Yield the text file `path`, plain or .gz and in UTF-8, as bytes in blocks of whole lines: about `first`
    bytes, then about `size` each. Every line ends with a line feed alone, the last one too.
    """
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rb") as file:
        text = file.read(3).removeprefix(b"\xef\xbb\xbf")
        while more := file.read(first):
            text, first = text + more, size
            end = max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1)) + 1  # not between \r and \n
            if end:
                yield with_line_feeds(text[:end])
            text = text[end:]
        if text:
            yield with_line_feeds(text + b"\n" if text[-1:] not in b"\r\n" else text)


def with_line_feeds(text):
    """The bytes `text` with a line feed at the end of each line, however they ended."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def read_documents(path, opening, chunk_rows, keep_hits=False):
    """Yield (records, bad) of one JSON array, or of JSON documents after one another; a bad one is named
    by its position.
    """
    values = enumerate(iter_documents(path, opening), 1)
    while chunk := list(itertools.islice(values, chunk_rows)):
        each = [(number, record) for number, value in chunk for record in unwrap(value, keep_hits)]
        yield (
            [record for _, record in each if isinstance(record, dict)],
            [
                (number, "no JSON object", json.dumps(record))
                for number, record in each
                if not isinstance(record, dict)
            ],
        )


def read_records(path, chunk_rows=100_000, keep_hits=False):
    """Yield (records, bad) of a file of records, plain or .gz, about `chunk_rows` at a time.

    Layouts: JSON lines; one JSON array, in one line or in many; JSON documents over several lines; all of
    them with or without the wrappings that `unwrap` takes off; tables with commas, semicolons, tabs or
    vertical bars.
    records : list of dict. bad : list of (line number, reason, text) of what does not parse; in an array the
    number is that of the element. An empty file yields nothing. ValueError where an array breaks off;
    OSError, and its gzip kind for a damaged archive, pass through: a file that cannot be read is no empty
    file.
    """
    layout = sniff_layout(path)
    if layout == "table":
        yield from read_table(path, chunk_rows)
    elif layout == "lines":
        yield from read_lines(path, chunk_rows, keep_hits)
    elif layout != "empty":
        yield from read_documents(path, "[" if layout == "array" else "", chunk_rows, keep_hits)


def shorten(names, n=8):
    """The first `n` of `names` as text."""
    names = [str(name)[:60] for name in names]
    return ", ".join(names[:n]) + (" ..." if len(names) > n else "") if names else "nothing"


def require_kind(pages, *, kind, needed, fits, place=""):
    """Pass on `pages`, (records, bad) each; LayoutError, one line, at the end of those that hold something
    and no record that `fits`.

    kind : what is looked for, such as "transfer event"; needed : what such a record has, for the line; fits :
    record -> bool; place : where the records are, "" where the caller names it.
    """
    n, n_fitting, n_bad, found = 0, 0, 0, ""
    for records, bad in pages:
        for record in records if not n_fitting else ():
            n_fitting += bool(fits(record))
            found = found or f"the first has {shorten(record)}"
        if bad and not found:
            found = f"the first begins {' '.join(bad[0][2].split())[:60]!r}"
        n, n_bad = n + len(records), n_bad + len(bad)
        yield records, bad
    if n + n_bad and not n_fitting:
        of, total = ("records", n) if n else ("lines", n_bad)
        what = f"none of its {total:,} {of} is a {kind if n else 'record'}"
        what = f"its only {of[:-1]} is no {kind}" if total == 1 else what
        raise LayoutError(f"{place + ': ' if place else ''}{what}: {found}; needed: {needed}")
