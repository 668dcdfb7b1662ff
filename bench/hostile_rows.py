"""The texts of tests/hostile.py in rows of every layout that is read: whether each row is counted and no study ends.

    python bench/hostile_rows.py [PATTERN]

Each example of tests/examples whose layout matches the regular expression PATTERN, all by default, gets a row more for each of the texts: a copy of
one of its own in which the text stands in place of one value, each value in its turn, written as the format writes it (as JSON, quoted in CSV,
escaped in XML, as text in Parquet and SQLite; where values stand between blanks or bars, without these and without line breaks). In ROOT files the
text is the name of a histogram or its folder, in HDF5 files, whose rows hold numbers, that of a column. Then it is extracted and cleaned as a night
does it. A line says of each layout how many rows were read, put aside, kept and left out, and before it

    ENDED      the study would not run; as it must where a document is none any more. The error follows
    UNCLEAN    a control character is left in the error or in bad_lines.csv, or an element that runs or loads something on a page
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
import sqlite3
import sys
import tempfile
import traceback
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import uproot
import yaml
from bs4 import BeautifulSoup

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from conftest import run_here  # noqa: E402
from hostile import TEXTS  # noqa: E402

import helpers  # noqa: E402
from nightshift.wording import one_line  # noqa: E402

FOLDER = REPOSITORY / "tests/examples"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
RUNS = "script, svg, iframe, object, base, meta, link, form, [onerror], [onload], [onfocus], [ontoggle], [onmouseover]"
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DATE = re.compile(r"\d{4}-\d\d|\d\d:\d\d")
IDENTITY = re.compile(r"(?i)#|_?id|iid|number|(issue )?key|ticket.*(#|id|number)|(issue|job|transfer|task|record|tr|sys)[-_ ]?id|.*request[-_]id")
DELIMITERS = [",", ";", "\t", "|"]
# of databases: the columns of each table that tell one record from another, and which row a copy is made of where it is not the last
OF_DATABASES = {
    "AAR": {"AAR": "RecordID EndpointID QueueID UserID VOID StatusID"} | dict.fromkeys(["Endpoints", "Queues", "WLCGVOs", "Status"], "ID"),
    "hd_ticket": {
        **{"hd_ticket": "ticket_id user_id status_id topic_id dept_id", "hd_ticket__cdata": "ticket_id", "hd_user": "id default_email_id"},
        **{"hd_user_email": "id user_id", "hd_help_topic": "topic_id", "hd_department": "id", "hd_ticket_status": "id"},
        **{"hd_thread": "id object_id", "hd_thread_entry": "id thread_id"},
    },
}
COPIED = {"AAR": "RecordID = 1", "Status": "ID = 1", "hd_ticket_status": "id = 1", "hd_thread_entry": "thread_id = 5"}


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


def in_parquet(content, texts):
    table = pq.read_table(io.BytesIO(content))
    more, out = pa.Table.from_pylist(more_records(table.to_pylist(), texts), table.schema), pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([table, more]), out)
    return out.getvalue().to_pybytes()


def in_sqlite(content, texts):
    """A record more for each text: a row in each of the tables that say something of it, one of whose texts it is."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        connection.row_factory = sqlite3.Row
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        tables = next(tables for main, tables in OF_DATABASES.items() if main in names)
        last = {name: f"rowid = (SELECT max(rowid) FROM {name})" for name in tables} | COPIED
        rows = {name: dict(connection.execute(f"SELECT * FROM {name} WHERE {last[name]}").fetchone()) for name in tables}
        for n, record in enumerate(more_records([rows], texts)):
            for name, columns in tables.items():
                row = record[name] | dict.fromkeys(columns.split(), 1000 + n)
                connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", list(row.values()))
        connection.commit()
        return connection.serialize()


def in_root(content, texts):
    """A histogram more for each text, of a lumisection of its own; uproot writes no : in a path, and no folder without a name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.root")
        path.write_bytes(content)
        with uproot.update(path) as file:
            for n, text in enumerate(texts):
                name = re.sub("/+", "/", text.replace(":", "")).strip("/")
                values = np.histogram(np.arange(4.0), bins=4)
                of_lumisection = f"By Lumi Section {n + 10}-{n + 10}"
                file["DQMData/Run 400123/" + [f"Tracker/{of_lumisection}/{name}", f"{name}/{of_lumisection}/hit_eta"][n % 2]] = values
        return path.read_bytes()


def in_hdf(content, texts):
    """A column more for each text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.hdf")
        path.write_bytes(content)
        table = pd.read_hdf(path)
        table.join(pd.DataFrame(1.0, table.index, texts)).to_hdf(path, key="data")
        return path.read_bytes()


BINARY = {".parquet": in_parquet, ".db": in_sqlite, ".sqlite": in_sqlite, ".root": in_root, ".hdf": in_hdf}


def spoiled(path, texts):
    """The bytes of an example with a row more for each of `texts`; None where it is XML of several pages."""
    content = path.read_bytes()
    if path.suffix in BINARY:
        return BINARY[path.suffix](content, texts)
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
    """(rows of the raw tables, in HDF5 and columns, lines put aside, rows kept, rows left out, pages) of an extraction and a cleaning."""
    named = (one.get("extract") or {}).items()
    more = {name: value.replace("{folder}", str(FOLDER / study)) if isinstance(value, str) else value for name, value in named}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = run_here(f"{study}/1_extract.ipynb", products, day=str(one["day"]), **more | {"source": str(source)})
        cleaned = run_here(f"{study}/2_preprocess.ipynb", products, day=str(one["day"]), **(one.get("preprocess") or {}))
    paths = helpers.study_paths(study, products)
    status, aside = json.loads((paths.raw / "status.json").read_text()), pd.read_csv(paths.raw / "bad_lines.csv")
    n_columns = status["metrics"] if str(source).endswith(".hdf") else 0
    kept = len(pd.read_parquet(paths.clean.with_stem(one.get("table", paths.clean.stem))))
    n_aside = int(aside["rows"].sum()) if "rows" in aside else len(aside)
    read, left = status["rows"] + status.get("gpu_rows", 0) + n_columns, status.get("copies", 0) + left_out(page)
    return read, n_aside, kept, left, [page, cleaned]


def counts(study, one, texts=TEXTS):
    """(rows written, and what `extract` says) of an example with a row more for each of `texts`, and whether bad_lines.csv is clean
    and nothing runs on its pages; None as `spoiled`.
    """
    files = sorted(path for path in (FOLDER / study).glob(one["source"]) if path.is_file())
    path = files[0 if files[0].suffix in BINARY else -1]  # the last table of ExaMon has no nodes, and is left out
    if (content := spoiled(path, texts)) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, products = Path(folder, "source"), Path(folder, "products")
        shutil.copytree(FOLDER / study, source)
        (source / path.relative_to(FOLDER / study)).write_bytes(content)
        *found, pages = extract(study, one, source / one["source"], products)
        is_clean = not any(BeautifulSoup(page, "html.parser").select(RUNS) for page in pages)
        is_clean &= not any(CONTROL.search(path.read_text()) for path in products.rglob("bad_lines.csv"))
        n_columns = pd.read_hdf(path).shape[1] if path.suffix == ".hdf" else 0
        return one["read"] + n_columns + sum((one.get("put_aside") or {}).values()) + len(texts), *found, is_clean


def what_came(study, one):
    """What came of an example, in words; "" where `spoiled` is None."""
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
