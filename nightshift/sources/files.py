"""Files of records as their producers write them: JSON in any of its layouts, and tables of text.

matching_files   which files a path or a pattern names; no_file: why none
open_text        plain or .gz, UTF-8 with or without a mark, UTF-16 with one; is_empty: of no content
line_blocks      a file of lines in UTF-8, as bytes
read_records     pages of records, whatever the layout, and what did not parse
require_kind     the same pages; one line where none of the records is of a kind
names_in_words   what an error may say of the columns of a table; beginning_of: of a line
"""

import csv
import glob
import gzip
import itertools
import json
import math
import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = 2**20  # characters that JSON is read by
PAGE_LETTERS = 2**24  # of a page of records: parsed, they take some thirteen times as many bytes
PAGE_CELLS = 2**21  # of a page of a table: 130 MB as texts
SEPARATORS = ",;\t|"  # of the columns of a table
BETWEEN = re.compile(r"[\s,]*")
VALUE = re.compile(r"[-+\s\d.,:;/TZe]*\d[-+\s\d.,:;/TZe]*")  # a number, a time
PACKED = {  # what a file is, by its first bytes
    b"\x1f\x8b": "packed by gzip and not called .gz",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
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
    """List the paths of the files that `pattern` names, sorted; a relative one counts from the repository.

    The path of a file that exists is taken as it is, whatever characters it holds; anything else is a pattern
    with *, ?, [...] and **.
    """
    path = str(REPOSITORY / os.path.expanduser(pattern))  # which leaves ~name of an unknown user as it is
    if os.path.isfile(path):
        return [path]
    return sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))


def no_file(pattern):
    """One line that says why `pattern` names no file."""
    pattern = str(pattern)
    path = REPOSITORY / os.path.expanduser(pattern)
    if not pattern.strip():
        return "the source is empty: name its files"
    return (
        f"{pattern} is a folder: name its files, such as {pattern.rstrip('/')}/*"
        if path.is_dir()
        else f"no file matches {pattern}"
    )


def open_text(path):
    """Open the text file `path`, plain or .gz, for reading: UTF-16 where it begins with a mark of that, else
    UTF-8. Bytes that are not of the encoding become U+FFFD. LayoutError for what is packed in another way.
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


def is_empty(path):
    """Whether the file `path` holds nothing, or is a .gz in which nothing is packed."""
    if not str(path).endswith(".gz") or not os.path.getsize(path):
        return not os.path.getsize(path)
    with gzip.open(path, "rb") as file:
        return not file.read(1)


def blocks_of(file, number, size=2**23):
    """Yield (number of its first line, text) of the rest of an open text file in blocks of whole lines, about
    `size` characters each. number : that of the next line of the file.
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
    """The JSON `value` as text: texts as they are, anything else as JSON; None stays None. Half of a
    surrogate pair, which UTF-8 cannot hold, becomes a question mark.
    """
    if value is None:
        return None
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)  # as json.dumps has it, which takes ten times as long to begin
    if not isinstance(value, str):
        return json.dumps(value)
    return value if value.isascii() else value.encode(errors="replace").decode()


def is_action(record):
    """Whether `record` is no record but a line of Elasticsearch's bulk format that says what to do with the
    next one: {"index": {"_id": ...}}.
    """
    if len(record) != 1:
        return False
    [(name, value)] = record.items()
    names_place = isinstance(value, dict) and all(key.startswith("_") or key == "routing" for key in value)
    return name in ("index", "create") and names_place


def unwrap(record, keep_hits=False, fits=None):
    """Yield the records that `record`, one JSON value, stands for.

    The answer of a search holds many ({"hits": {"hits": [...]}}, {"data": [...]}); a hit ({"_source": {...}})
    and a document of MONIT ({"data": {...}, "metadata": {...}}) hold one each. Anything else stands for
    itself, and so does a hit with `keep_hits`, for its "_id". An empty list is an answer without records,
    unless the object around it `fits`: a function of an object that says whether it is a record itself.
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
    if array == [] and fits and fits(record):
        yield record
    elif isinstance(array, list) and all(isinstance(one, dict) for one in array):
        for one in array:
            yield from unwrap(one, keep_hits, fits)
    elif isinstance(record.get("_source"), dict):
        yield from (record,) if keep_hits else unwrap(record["_source"], fits=fits)
    elif isinstance(record.get("data"), dict) and ("metadata" in record or len(record) == 1):
        yield from unwrap(record["data"], keep_hits, fits)
    else:
        yield record


def sniff_layout(path):
    """How the text file `path` is laid out: "lines" (of a JSON value each), "documents" (JSON values over
    several lines), "array" (of JSON), "table" or "empty".
    """
    with open_text(path) as file:
        head = [line for line in file.read(BLOCK).split("\n") if line.strip()]
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
    """Yield the JSON values of a file one by one: the elements of arrays and the objects after them, or
    values after one another.

    opening : what stands before the first element, "[" or a longer text that ends with it; "" for values
    after one another. Memory holds the value that is being read, and a block. ValueError where the text is
    damaged or breaks off, with the number of values before.
    """
    yield from (value for value, _ in sized_documents(path, opening))


def sized_documents(path, opening):
    """Yield (value, number of its letters) of the JSON values of a file, as `iter_documents` does."""
    reader, in_array = JsonReader(path, opening), bool(opening)
    with reader.file:
        while (first := reader.skip()) or in_array:
            if in_array and first == "]":  # a page of an API may follow, another array, or lines
                reader.at, in_array = reader.at + 1, False
            elif opening and not in_array and first == "[":
                reader.at, in_array = reader.at + 1, True
            elif opening and not in_array and first != "{":
                return
            else:
                yield reader.value()


def iter_elements(path, name):
    """Yield (document, element) for each element of the first array called `name` in JSON documents after one
    another, so that memory holds one element.

    The document is what stands before the array, closed where the text is still open; after the last element
    it comes once more, all of it but the elements, with None. ValueError as of `iter_documents`.
    """
    reader, array = JsonReader(path, ""), re.compile(rf'"{name}"\s*:\s*\[')
    with reader.file:
        while True:
            reader.skip()
            if reader.at_end():
                return
            found = array.search(reader.text, reader.at)
            before = reader.text[reader.at : found.end()] if found else ""
            if not (closing := brackets_open(before)):
                yield reader.value()[0], None
                continue
            document, reader.at = json.loads(before + closing), found.end()
            while reader.skip() != "]":
                yield document, reader.value()[0]
            reader.text, reader.at = before + reader.text[reader.at :], 0
            yield reader.value()[0], None


def brackets_open(text):
    """The brackets that close what is open at the end of `text`, the beginning of JSON; "" where nothing is
    open, or where a whole value comes first.
    """
    closing = []
    for one in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        if one in "[{":
            closing.append("]" if one == "[" else "}")
        elif one in "]}":
            del closing[-1:]
            if not closing:
                return ""
    return "".join(reversed(closing))


class JsonReader:
    """The text of a file of JSON from the position `at` of a block on, of which more is read as it is
    needed.
    """

    def __init__(self, path, opening):
        self.file, self.decoder, self.n, self.at = open_text(path), json.JSONDecoder(), 0, len(opening)
        self.text = self.file.read(BLOCK).lstrip()

    def skip(self):
        """Go on to what follows blanks and commas, and return its first character, "" where the file ends."""
        self.at = BETWEEN.match(self.text, self.at).end()
        while self.at == len(self.text) and (more := self.file.read(BLOCK)):
            self.text, self.at = more, 0
            self.at = BETWEEN.match(self.text, self.at).end()
        return self.text[self.at : self.at + 1]

    def at_end(self):
        """Whether nothing follows."""
        return self.skip() == ""

    def value(self):
        """Read one value: (value, number of its letters)."""
        size = BLOCK
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except DAMAGE as error:
                more = self.file.read(size)
                if not more:
                    raise ValueError(f"its JSON breaks off after {self.n:,} records: {error}") from None
                self.text, self.at, size = self.text[self.at :] + more, 0, 2 * size
                continue
            letters, self.at, self.n = end - self.at, end, self.n + 1
            return value, letters


def read_table(path, chunk_rows):
    """Yield (records, bad) of a table of text whose columns are separated by one of SEPARATORS; every cell is
    text, an empty one None.
    """
    with open_text(path) as lines:
        header_line, header = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (1, ""))
        separator = max(SEPARATORS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
        rows = csv.reader(lines, delimiter=separator)
        chunk_rows = max(1, min(chunk_rows, PAGE_CELLS // max(len(names), 1)))
        while chunk := [(header_line + rows.line_num, row) for row in itertools.islice(rows, chunk_rows)]:
            good = [row for _, row in chunk if len(row) == len(names)]
            bad = [
                (number, f"{len(row)} columns, not {len(names)}", separator.join(row))
                for number, row in chunk
                if row and len(row) != len(names)
            ]
            yield [{name: cell or None for name, cell in zip(names, row, strict=True)} for row in good], bad


def read_lines(path, chunk_rows, **how):
    """Yield (records, bad) of JSON lines, each record unwrapped. how : as `unwrap` takes it."""
    with open_text(path) as lines:
        numbered = ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1))
        for chunk in pages_of(numbered, chunk_rows, size=lambda one: len(one[1])):
            yield parse_lines(chunk, **how)


def pages_of(items, most, *, size):
    """Yield lists of at most `most` of the items, and of about PAGE_LETTERS characters; size(item) is how
    many an item has.
    """
    page, letters = [], 0
    for item in items:
        page.append(item)
        letters += size(item)
        if len(page) >= most or letters >= PAGE_LETTERS:
            yield page
            page, letters = [], 0
    if page:
        yield page


def parse_lines(numbered, **how):
    """(records, bad) of the JSON lines `numbered`, (line number, text) each. how : as `unwrap` takes it."""
    records, bad = [], []
    for number, line in numbered:
        try:
            values = list(unwrap(json.loads(line), **how)) if line.strip() else []
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


def read_documents(path, opening, chunk_rows, **how):
    """Yield (records, bad) of one JSON array, or of JSON documents after one another; a bad one is named
    by its position. how : as `unwrap` takes it.
    """
    values = enumerate(sized_documents(path, opening), 1)
    for chunk in pages_of(values, chunk_rows, size=lambda one: one[1][1]):
        each = [(number, record) for number, (value, _) in chunk for record in unwrap(value, **how)]
        yield (
            [record for _, record in each if isinstance(record, dict)],
            [
                (number, "no JSON object", json.dumps(record))
                for number, record in each
                if not isinstance(record, dict)
            ],
        )


def read_records(path, chunk_rows=100_000, **how):
    """Yield (records, bad) of a file of records, plain or .gz, about `chunk_rows` at a time.

    Layouts: JSON lines; one JSON array, in one line or in many; JSON documents over several lines; all of
    them with or without the wrappings that `unwrap` takes off; tables with commas, semicolons, tabs or
    vertical bars.
    how : `keep_hits` and `fits`, as `unwrap` takes them.
    records : list of dict. bad : list of (line number, reason, text) of what does not parse; in an array the
    number is that of the element. An empty file yields nothing. ValueError where an array breaks off;
    OSError, and its gzip kind for a damaged archive, pass through: a file that cannot be read is no empty
    file.
    """
    layout = sniff_layout(path)
    if layout == "table":
        yield from read_table(path, chunk_rows)
    elif layout == "lines":
        yield from read_lines(path, chunk_rows, **how)
    elif layout != "empty":
        yield from read_documents(path, "[" if layout == "array" else "", chunk_rows, **how)


def values_in(*cells):
    """How many cells these are, each split where it holds a separator, if one of them is a value; else 0."""
    parts = [part.strip() for cell in cells for part in re.split(f"[{SEPARATORS}]", cell)]
    return len(parts) if any(map(VALUE.fullmatch, parts)) else 0


def names_in_words(names, n=8):
    """List the first `n` names of columns or keys, as an error says what a table has.

    Where a number or a time is among them, they are the cells of a row, since the line of names is missing;
    such cells may name people, and are only counted.
    """
    names = [str(name)[:60] for name in names]
    if n_values := values_in(*names):
        return f"{n_values} values where names of columns should be"
    return ", ".join(names[:n]) + (" ..." if len(names) > n else "") if names else "nothing"


def beginning_of(line):
    """Quote the beginning of a line, as an error shows what a file begins with; for a row of values (see
    `names_in_words`) say how many there are.
    """
    n_values = values_in(line)
    return f"a row of {n_values} values" if n_values > 1 else repr(" ".join(line.split())[:60])


def require_kind(pages, *, kind, needed, fits, place=""):
    """Pass on `pages`, (records, bad) each; LayoutError, one line, after the last where they hold something
    but no record that `fits`.

    kind : what is looked for, such as "transfer event"; needed : what such a record has, for the line; fits :
    record -> bool; place : where the records are, "" where the caller names it.
    """
    n, n_fitting, n_bad, found = 0, 0, 0, ""
    for records, bad in pages:
        for record in records if not n_fitting else ():
            n_fitting += bool(fits(record))
            found = found or f"the first has {names_in_words(record)}"
        if bad and not found:
            found = f"the first begins with {beginning_of(bad[0][2])}"
        n, n_bad = n + len(records), n_bad + len(bad)
        yield records, bad
    if n + n_bad and not n_fitting:
        of, total = ("records", n) if n else ("lines", n_bad)
        what = f"none of its {total:,} {of} is a {kind if n else 'record'}"
        what = f"its only {of[:-1]} is no {kind}" if total == 1 else what
        raise LayoutError(f"{place + ': ' if place else ''}{what}: {found}; needed: {needed}")
