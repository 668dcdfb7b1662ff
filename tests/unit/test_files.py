"""Files of records in every layout that producers write, against the records that they hold."""

import bz2
import gzip
import json
import lzma

import pytest

from nightshift.sources import files
from nightshift.sources.files import beginning_of, names_in_words
from nightshift.sources.tables import read_csv_pages, read_files

RECORDS = [{"id": str(i), "text": "a, b; [c] {d} \u00e9" * (i % 3), "inner": {"data": i}} for i in range(50)]
HITS = [{"_index": "x", "_id": r["id"], "_score": None, "_source": r} for r in RECORDS]


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


LAYOUTS = {
    "lines": lines(RECORDS),
    "one line, one array": json.dumps(RECORDS),
    "pretty array": "\n" + json.dumps(RECORDS, indent=1) + "\n",
    "pages of an API, appended": json.dumps(RECORDS[:20]) + "\n\n" + json.dumps(RECORDS[20:]),
    "pages with commas between": json.dumps(RECORDS[:20]) + ",\n" + json.dumps(RECORDS[20:]),
    "an array, and lines appended": json.dumps(RECORDS[:20], indent=1) + "\n" + lines(RECORDS[20:40]) + json.dumps(RECORDS[40:]) + "\n",
    "pretty objects, as jq writes them": "".join(json.dumps(r, indent=2) + "\n" for r in RECORDS),
    "saved search": json.dumps({"took": 3, "_shards": {"failed": 0}, "hits": {"total": {"value": 50}, "hits": HITS}}, indent=1),
    "saved search in one line": json.dumps({"took": 3, "hits": {"hits": HITS}}),
    "hits, a line each": lines(HITS),
    "documents of MONIT": lines({"metadata": {"topic": "t"}, "data": r} for r in RECORDS),
    "documents of MONIT in hits": lines({"_source": {"metadata": {"topic": "t"}, "data": r}} for r in RECORDS),
    "object of one array": json.dumps({"data": RECORDS}),
    "object of one named array": json.dumps({"transfers": RECORDS}, indent=1),
    "documents of one field": lines({"data": r} for r in RECORDS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_layout_gives_the_same_records(tmp_path, layout, encoding, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 300)  # so that blocks end anywhere, and some records are longer
    path = tmp_path / "e.json.gz"
    path.write_bytes(gzip.compress(LAYOUTS[layout].encode(encoding)))
    pages = list(files.read_records(path, chunk_rows=7))
    assert [r for records, _ in pages for r in records] == RECORDS
    assert [bad for _, bad in pages if bad] == []


def test_what_no_record_is_stays_out_of_arrays_too(tmp_path):
    (tmp_path / "e.json").write_text('[{"a": 1}, 3, null, {"a": {"data": [1, 2]}}]')
    assert list(files.read_records(tmp_path / "e.json")) == [
        ([{"a": 1}, {"a": {"data": [1, 2]}}], [(2, "no JSON object", "3"), (3, "no JSON object", "null")])
    ]


@pytest.mark.parametrize("text", ["", "\n \n", "[]", "[\n]\n", '{"hits": {"total": 0, "hits": []}}', '{"data": []}', "a,b\n"])
def test_nothing_is_no_record_and_no_error(tmp_path, text):
    name = "e.csv" if text == "a,b\n" else "e.json"
    (tmp_path / name).write_text(text)
    pages = list(files.require_kind(files.read_records(tmp_path / name), kind="transfer event", needed="an id", fits=lambda r: "id" in r))
    assert [one for page in pages for part in page for one in part] == []


@pytest.mark.parametrize("cut", [1, 40, 2000])
def test_an_array_that_breaks_off_is_an_error(tmp_path, cut, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 300)
    (tmp_path / "e.json").write_text(json.dumps(RECORDS)[:-cut])
    with pytest.raises(ValueError, match=r"its JSON breaks off after \d+ records"):
        list(files.read_records(tmp_path / "e.json"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["e.csv", "e.txt", "e.csv.gz"])
def test_tables_of_text_by_any_separator(tmp_path, separator, name):
    text = separator.join(["\ufeffid", "bytes", "reason"]) + "\n"
    text += separator.join(["007", "", f'"a{separator} ""b""\nc"']) + "\n" + separator.join(["8", "12"]) + "\n" + separator.join("9xy") + "\n\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    [(records, bad)] = files.read_records(tmp_path / name)
    assert records == [
        {"id": "007", "bytes": None, "reason": f'a{separator} "b"\nc'},
        {"id": "9", "bytes": "x", "reason": "y"},
    ]
    assert bad == [(4, "2 columns, not 3", separator.join(["8", "12"]))]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (lines({"lfn": "/a", "size": i} for i in range(3)), "none of its 3 records is a transfer event: the first has lfn, size; needed: request-id"),
        ('{"meta": 1, "other": 2}', "its only record is no transfer event: the first has meta, other; needed: request-id"),
        ("<html>\n<body>\n", "none of its 2 lines is a record: the first begins with '<html>'; needed: request-id"),
        ("a;b;c\n1;2;3\n", "its only record is no transfer event: the first has a, b, c; needed: request-id"),
    ],
)
def test_a_file_without_a_record_of_the_kind_is_one_line_with_its_name(tmp_path, text, line):
    (tmp_path / "e.txt").write_text(text)

    def read(path):
        list(files.require_kind(files.read_records(path), kind="transfer event", needed="request-id", fits=lambda r: "request-id" in r))

    with pytest.raises(ValueError, match="needed") as error:
        read_files(str(tmp_path / "e.txt"), read)
    assert str(error.value) == f"{tmp_path}/e.txt: {line}"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json.bz2", bz2.compress(b"{}"), "packed by bzip2"),
        ("a.json.xz", lzma.compress(b"{}"), "packed by xz"),
        ("a.json", gzip.compress(b"{}", mtime=0), "packed by gzip and not called .gz"),
        ("a.xlsx", b"PK\x03\x04rest", "a spreadsheet"),
    ],
    ids=["bzip2", "xz", "gzip", "xlsx"],
)
def test_what_is_packed_otherwise_is_named_as_such(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(files.LayoutError, match=line):
        files.open_text(tmp_path / name)


def test_an_empty_pattern_is_no_folder():
    assert files.matching_files("") == []
    assert files.no_file("") == "the source is empty: name its files"


def test_a_pattern_in_a_home_that_nobody_has_names_no_file():
    assert files.matching_files("~nobody9/*.csv") == []
    assert files.no_file("~nobody9/*.csv") == "no file matches ~nobody9/*.csv"


def test_lines_of_the_bulk_format_that_say_what_to_do_are_no_records(tmp_path):
    lines = ['{"index": {"_index": "gracc", "_id": "1"}}', '{"CoreHours": 1}', '{"create": {}}', '{"CoreHours": 2}', '{"index": {"CoreHours": 3}}']
    (tmp_path / "bulk.json").write_text("\n".join(lines))
    [(records, bad)] = files.read_records(tmp_path / "bulk.json")
    assert records == [{"CoreHours": 1}, {"CoreHours": 2}, {"index": {"CoreHours": 3}}]
    assert bad == []


@pytest.mark.parametrize("text", [b"a\nb\n", b"a\r\nb", b"a\rb\r", b"\xef\xbb\xbfa\n\nb\r\n\r\n", b"\n", b"", b"a\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_blocks_of_lines_are_the_lines_of_the_file(tmp_path, text, size):
    (tmp_path / "e.jsonl").write_bytes(text)
    blocks = list(files.line_blocks(tmp_path / "e.jsonl", first=size, size=size))
    assert all(block.endswith(b"\n") for block in blocks)
    with files.open_text(tmp_path / "e.jsonl") as lines:
        assert b"".join(blocks).decode().splitlines() == [line.rstrip("\n") for line in lines]


def test_half_a_surrogate_pair_is_written_as_a_question_mark():
    assert [files.as_text(value) for value in ("a\ud800", "é", 1.5, True, None)] == ["a?", "é", "1.5", "true", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_read_in_the_encoding_that_its_mark_says(tmp_path, encoding):
    """A table program saves "Unicode text" in UTF-16, with tabs and CRLF."""
    path = tmp_path / "table.txt"
    path.write_bytes("node\ttext\r\nn1\tgr\u00fc\u00dfe \u2603\r\nn2\t\r\nn3\ta\tb\r\n".encode(encoding))
    bad = []
    names, pages = read_csv_pages(str(path), bad)
    [(first, page)] = list(pages)
    assert (names, first) == (["node", "text"], 1)
    assert page.to_pydict() == {"node": ["n1", "n2"], "text": ["gr\u00fc\u00dfe \u2603", None]}
    assert [(line, reason) for _, line, reason, _ in bad] == [(3, "3 columns, not 2")]


@pytest.mark.parametrize("prose", [False, True])
def test_names_of_columns_may_stand_below_empty_lines(tmp_path, prose):
    (tmp_path / "a.csv").write_text("\n \nnode,load\nn1,2\nn2,3,4\nn3,5\n")
    bad = []
    names, pages = read_csv_pages(str(tmp_path / "a.csv"), bad, prose=prose)
    [(first, page)] = list(pages)
    assert (names, first, page.to_pydict()) == (["node", "load"], 1, {"node": ["n1", "n3"], "load": ["2", "5"]})
    assert [(line, reason) for _, line, reason, _ in bad] == [(2, "3 columns, not 2")]


def test_a_quote_that_is_never_closed_is_one_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"' + "x" * 140_000 + "\n")
    with pytest.raises(ValueError, match=r"a\.csv cannot be read: Error: field larger than field limit"):
        read_files(str(path), lambda one: list(files.read_records(one)))


def test_names_of_columns_are_said_and_values_that_stand_in_their_place_are_counted():
    assert names_in_words(["node", "time", "cpu user"]) == "node, time, cpu user"
    assert names_in_words([*"abcdefghij"], 3) == "a, b, c ..."
    for value in ("17", "-1.5e3", "2026-01-31T10:00:00Z", "31/01/2026 10:00"):
        assert names_in_words(["Kora Lumbe", value, "kora@x.example"]) == "3 values where names of columns should be"
        assert beginning_of(f"Kora Lumbe|{value}|kora@x.example") == "a row of 3 values"
    assert beginning_of("Dear reader,\n") == "'Dear reader,'"
    assert beginning_of("JobID|User|Elapsed") == "'JobID|User|Elapsed'"
