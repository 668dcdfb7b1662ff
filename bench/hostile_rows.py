"""The texts of tests/hostile.py in rows of every layout that is read: whether each row is counted and no study ends.

    python bench/hostile_rows.py [PATTERN]

Each example of tests/examples that is text and whose layout matches the regular expression PATTERN, all by default, gets a row more for each of the
texts: a copy of one of its own in which the text stands in place of one value, each value in its turn, written as the format writes it (as JSON,
quoted in CSV, escaped in XML; where values stand between blanks or bars, without these and without line breaks). Then it is extracted and cleaned as
a night does it. A line says of each layout how many rows were read, put aside, kept and left out, and before it

    ENDED      the study would not run; as it must where a document is none any more. The error follows
    UNCLEAN    a control character is left in the error or in bad_lines.csv
    fewer      less is counted than was written: steps are part of their job, lines of their message, values of their series; what never ran is
               counted by its name
"""

import contextlib
import copy
import csv
import io
import json
import re
import shutil
import sys
import tempfile
import traceback
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from conftest import run_here  # noqa: E402
from hostile import TEXTS  # noqa: E402

import helpers  # noqa: E402
from nightshift.wording import one_line  # noqa: E402

FOLDER = REPOSITORY / "tests/examples"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DATE = re.compile(r"\d{4}-\d\d|\d\d:\d\d")
IDENTITY = re.compile(r"(?i)#|_?id|iid|number|(issue )?key|ticket.*(#|id|number)|(issue|job|transfer|task|record|tr|sys)[-_ ]?id|.*request[-_]id")
DELIMITERS = [",", ";", "\t", "|"]


def leaves(value, path=()):
    """Yield the paths of all texts within a value of JSON."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(one, dict | list):
            yield from leaves(one, (*path, key))
        elif isinstance(one, str):
            yield (*path, key)


def with_leaf(record, path, text):
    """A copy of a value of JSON with `text` at a path."""
    record = place = copy.deepcopy(record)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = text
    return record


def numbered(value, n):
    """The `n`-th of values like this one: what ends in a number ends in another, a date stays."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value + 1000 + n
    if not isinstance(value, str) or DATE.search(value):
        return value
    return re.sub(r"[0-9]+$", lambda digits: f"{int(digits[0]) + 1000 + n:0{len(digits[0])}}", value)


def identified(record, n):
    """A copy of a record of JSON, as a dict, that is the `n`-th of its kind by all that is called like a number of it."""
    return {
        key: identified(value, n) if isinstance(value, dict) else numbered(value, n) if IDENTITY.fullmatch(key) else value
        for key, value in record.items()
    }


def more_records(records, texts):
    """A copy of one of the records of JSON for each of `texts`, with one of its texts replaced and an identity of its own."""
    more, records = [], [record for record in records if any(leaves(record))]
    for n, text in enumerate(texts):
        record = records[n % len(records)]
        paths = list(leaves(record))
        more.append(with_leaf(identified(record, n), paths[n // len(records) % len(paths)], text))
    return more


def longest_list(value):
    """The list of most objects within a value of JSON, the outermost of them; None where there is none."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return value
    inner = [longest_list(one) for one in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else [])]
    return max((one for one in inner if one), key=len, default=None)


def in_json(content, texts):
    document = json.loads(content)
    records = longest_list(document)
    records += more_records(records, texts)
    return json.dumps(document).encode()


def in_json_lines(content, texts):
    lines = content.splitlines()
    records = [json.loads(line) for line in lines]
    if isinstance(records[-1], list):  # a page a line
        return b"\n".join([*lines, json.dumps(more_records(records[-1], texts)).encode()]) + b"\n"
    return b"\n".join([*lines, *(json.dumps(one).encode() for one in more_records(records, texts))]) + b"\n"


def in_xml(content, texts):
    root = ET.fromstring(content)
    record = list(root)[-1]
    values = [n for n, one in enumerate(record.iter()) if (one.text or "").strip()]
    for n, text in enumerate(texts):
        more = copy.deepcopy(record)
        list(more.iter())[values[n % len(values)]].text = NO_XML.sub("?", text)
        root.append(more)
    return ET.tostring(root)


def in_table(content, texts, delimiter):
    rows = list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter))
    head, cells, out = rows[0], rows[-1], io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    for n, text in enumerate(texts):
        own = [numbered(cell, n) if IDENTITY.fullmatch(name) else cell for name, cell in zip_longest(head, cells, fillvalue="")][: len(cells)]
        writer.writerow([text if place == n % len(cells) else cell for place, cell in enumerate(own)])
    return content.rstrip(b"\n") + b"\n" + out.getvalue().encode("utf-8", "surrogatepass")


def in_words(content, texts, delimiter):
    """Values between bars, or between blanks where `delimiter` is None."""
    rows = [line.split(delimiter) if delimiter else re.split(r"(\s+)", line) for line in content.decode().splitlines() if line]
    rows, lines = [row for row in rows if len(row) == max(map(len, rows))], []
    for n, text in enumerate(texts):
        parts = rows[-1 - n % len(rows[1:])] if len(rows) > 1 else rows[0]  # the first may be a header
        place = n % len(parts) if delimiter else 2 * (n % ((len(parts) + 1) // 2))
        plain = re.sub(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", text)
        plain = plain.replace(delimiter, " ") if delimiter else re.sub(r"\s+", "", plain)
        lines.append((delimiter or "").join([*parts[:place], plain, *parts[place + 1 :]]))
    return content.rstrip(b"\n") + b"\n" + "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def spoiled(path, texts):
    """The bytes of an example with a row more for each of `texts`; None where it is no text."""
    content = path.read_bytes()
    if path.suffix in (".parquet", ".root", ".db", ".sqlite", ".hdf"):
        return None
    if content[:1] == b"<":
        with contextlib.suppress(ET.ParseError):  # page after page
            return in_xml(content, texts)
        return None
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        return in_json(content, texts)
    with contextlib.suppress(ValueError):
        return in_json_lines(content, texts)
    last = content.decode().rstrip("\n").rpartition("\n")[2]
    delimiter = max(DELIMITERS, key=last.count)
    if not last.count(delimiter):
        return in_words(content, texts, None)
    return in_words(content, texts, "|") if delimiter == "|" else in_table(content, texts, delimiter)


def left_out(page):
    """How many rows an extraction says that it left out, of other kinds or days."""
    sentence = re.search(r"left out: .*|[^,]* of other kinds and .* left out", page)
    return sum(int(one.replace(",", "")) for one in re.findall(r"\b\d[\d,]*", sentence[0])) if sentence else 0


def extract(study, one, source, products):
    """(rows of the raw tables, lines put aside, rows kept, rows left out) of an extraction and a cleaning."""
    named = (one.get("extract") or {}).items()
    more = {name: value.replace("{folder}", str(FOLDER / study)) if isinstance(value, str) else value for name, value in named}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = run_here(f"{study}/1_extract.ipynb", products, day=str(one["day"]), **more | {"source": str(source)})
        run_here(f"{study}/2_preprocess.ipynb", products, day=str(one["day"]), **(one.get("preprocess") or {}))
    paths = helpers.study_paths(study, products)
    status, aside = json.loads((paths.raw / "status.json").read_text()), pd.read_csv(paths.raw / "bad_lines.csv")
    kept = len(pd.read_parquet(paths.clean.with_stem(one.get("table", paths.clean.stem))))
    n_aside = int(aside["rows"].sum()) if "rows" in aside else len(aside)
    return status["rows"] + status.get("gpu_rows", 0), n_aside, kept, status.get("copies", 0) + left_out(page)


def counts(study, one, texts=TEXTS):
    """(rows written, and what `extract` says) of an example with a row more for each of `texts`, and whether bad_lines.csv is clean; None where it is
    no text.
    """
    files = sorted(path for path in (FOLDER / study).glob(one["source"]) if path.is_file())
    if (content := spoiled(files[-1], texts)) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, products = Path(folder, "source"), Path(folder, "products")
        shutil.copytree(FOLDER / study, source)
        (source / files[-1].relative_to(FOLDER / study)).write_bytes(content)
        found = extract(study, one, source / one["source"], products)
        is_clean = not any(CONTROL.search(path.read_text()) for path in products.rglob("bad_lines.csv"))
        return one["read"] + sum((one.get("put_aside") or {}).values()) + len(texts), *found, is_clean


def what_came(study, one):
    """What came of an example, in words; "" where it is no text."""
    try:
        found = counts(study, one)
    except Exception as error:  # whatever it is, it is what the campaign looks for
        where = traceback.extract_tb(error.__traceback__)[-1]
        word = "UNCLEAN, ENDED" if CONTROL.search(one_line(str(error))) else "ENDED"
        return f"{word}: {type(error).__name__}: {one_line(str(error))} ({Path(where.filename).name}:{where.lineno})"
    if found is None:
        return ""
    written, read, aside, kept, left, is_clean = found
    word = "UNCLEAN: " if not is_clean else "fewer: " if read + aside + left < written else ""
    return f"{word}{read} read, {aside} put aside, {kept} kept, {left} left out, of {written} written"


def main(pattern=""):
    tally = Counter()
    for layouts in sorted(FOLDER.glob("*/layouts.yaml")):
        for one in yaml.safe_load(layouts.read_text()):
            if re.search(pattern, f"{layouts.parent.name}: {one['layout']}") and (came := what_came(layouts.parent.name, one)):
                tally[next((word for word in ("UNCLEAN", "ENDED", "fewer") if word in came), "every row counted")] += 1
                print(f"{layouts.parent.name}: {one['layout']}: {came}", flush=True)
    print(f"{len(TEXTS)} texts, {tally.total()} layouts: " + ", ".join(f"{n} {word}" for word, n in tally.most_common()))
    return int(tally["UNCLEAN"] > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
