"""Files of records and what is seen of them at a look, function by function, against values by hand: layouts, wrappings, pages, ends, answers."""

import gzip
import json
import os
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import elasticsearch
import pandas as pd
import pytest

from nightshift.sources import elastic, excerpts, files, looks
from nightshift.sources.addresses import is_server, live_words
from nightshift.sources.base import Head, Look, was_rewritten
from nightshift.sources.files import LayoutError
from nightshift.sources.parts import Extraction, link, part_name
from nightshift.sources.retries import TRIES, patient

# --------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("record", "is_one"),
    [
        ({"index": {"_id": "1", "routing": "a"}}, True), ({"create": {}}, True), ({"index": {"id": 1}}, False), ({"index": 5}, False),
        ({"delete": {}}, False), ({"index": {}, "more": 1}, False), ({}, False),
    ],
)  # fmt: skip
def test_a_line_of_the_bulk_format_says_only_where_the_next_one_goes(record, is_one):
    assert files.is_action(record) is is_one


@pytest.mark.parametrize(
    ("value", "records"),
    [
        ({"hits": {"hits": [{"_id": "x", "_source": {"a": 1}}], "total": 1}}, [{"a": 1}]), ({"data": [{"a": 1}, {"a": 2}]}, [{"a": 1}, {"a": 2}]),
        ({"whatever": [{"a": 1}]}, [{"a": 1}]), ({"whatever": [{"a": 1}], "more": 2}, [{"whatever": [{"a": 1}], "more": 2}]),
        ({"data": {"a": 1}, "metadata": {}}, [{"a": 1}]), ({"data": {"a": 1}}, [{"a": 1}]),
        ({"data": {"a": 1}, "b": 2}, [{"data": {"a": 1}, "b": 2}]),
        ({"rows": [1, 2], "a": 3}, [{"rows": [1, 2], "a": 3}]), ({"index": {"_id": 1}}, []), (5, [5]), ({"a": {"b": 1}}, [{"a": {"b": 1}}]),
    ],
)  # fmt: skip
def test_answers_hits_and_documents_are_unwrapped_and_all_else_stands_for_itself(value, records):
    assert list(files.unwrap(value)) == records


def test_an_object_around_an_empty_list_is_an_answer_unless_it_is_a_record_itself(tmp_path):
    job, answer = {"id": 1, "events": []}, {"total": 0, "data": []}
    for value in (job, {"_source": job}, {"data": [job]}, {"data": job, "metadata": {}}):
        assert list(files.unwrap(value, fits=lambda one: "id" in one)) == [job]
    assert list(files.unwrap(job)) == list(files.unwrap(answer, fits=lambda one: "id" in one)) == []
    for text in (f"{json.dumps(job)}\n{json.dumps(answer)}\n", json.dumps([answer, job]), json.dumps(job, indent=1)):
        assert list(files.read_records(written(tmp_path, text), fits=lambda one: "id" in one)) == [([job], [])]


def test_a_hit_stays_whole_where_its_name_is_wanted():
    hit = {"_id": "x", "_source": {"a": 1}}
    assert list(files.unwrap({"hits": {"hits": [hit]}}, keep_hits=True)) == [hit]
    assert list(files.unwrap({"data": [hit]}, keep_hits=True)) == [hit]


@pytest.mark.parametrize(
    ("name", "text", "layout"),
    [
        ("a", "\n \n", "empty"), ("a.csv", '{"a": 1}', "table"), ("a.tsv.gz", "[1]", "table"), ("a", " [1,\n2]", "array"),
        ("a", '{"a": 1}\n{"a": 2}\n', "lines"), ("a", '{"a":\n1}\n', "documents"), ("a", '{"a": 1, broken\n', "lines"),
        ("a", '{"a": "\u2028"}\n{"a": "\u2028"}\n', "lines"),
        ("a", "a,b,c\n", "table"), ("a", "a;b|c\n", "lines"), ("a.json", "a,b,c\n", "lines"), ("a", "a,b\n", "lines"), ("a", "a\tb\tc", "table"),
    ],
)  # fmt: skip
def test_a_layout_is_told_by_the_name_and_the_beginning(tmp_path, name, text, layout):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert files.sniff_layout(path) == layout


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ('{"a": [1, {"b": 2', "}]}"), ('{"a": "[{", "b": [', "]}"), ("[1]", ""), ('{"a": 1} {"b": [', ""), ("", ""), ('{"a\\"[": [', "]}"),
        ('] {"b": [', ""),
    ],
)  # fmt: skip
def test_brackets_that_are_open_are_closed_and_those_in_texts_are_none(text, closing):
    assert files.brackets_open(text) == closing


@pytest.mark.parametrize("block", [7, 2**20])
def test_values_follow_each_other_however_the_file_is_cut_into_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK", block)
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1} , 2,\n "x"]\n[3]')
    assert list(files.sized_documents(path, "[")) == [({"a": 1}, 8), (2, 1), ("x", 3), (3, 1)]
    path.write_text('{"a": 1}\n[2]  {"b": 3}')
    assert list(files.iter_documents(path, "")) == [{"a": 1}, [2], {"b": 3}]
    path.write_text('[1, 2, {"a"')
    read = files.iter_documents(path, "[")
    assert [next(read), next(read)] == [1, 2]
    with pytest.raises(ValueError, match=r"^its JSON breaks off after 2 records: "):
        next(read)


def test_many_small_arrays_are_read_block_by_block(tmp_path, monkeypatch):
    """As collectd sends them: each would have brought a block of its own into memory, behind which all others were copied."""
    monkeypatch.setattr(files, "BLOCK", 64)
    (tmp_path / "a.json").write_text("".join(f'[{{"n": {n}}}]\n' for n in range(200)) + " " * 300 + '[\n{"n": 200}]')
    reader, lengths = files.sized_documents(tmp_path / "a.json", "["), []
    for n, (value, _) in enumerate(reader):
        assert value == {"n": n}
        lengths.append(len(reader.gi_frame.f_locals["reader"].text))
    assert (n, max(lengths) < 200) == (200, True)


def test_elements_come_with_what_stands_before_them_and_the_rest_comes_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"run": 1, "of": {"rows": [{"x": 1}, {"x": 2}], "n": 2}, "after": 3}\n{"other": 5}\n{"rows": []}')
    first = {"run": 1, "of": {"rows": []}}
    whole = {"run": 1, "of": {"rows": [], "n": 2}, "after": 3}
    found = [(first, {"x": 1}), (first, {"x": 2}), (whole, None), ({"other": 5}, None), ({"rows": []}, None)]
    assert list(files.iter_elements(path, "rows")) == found


def test_pages_end_with_so_many_items_or_letters(monkeypatch):
    monkeypatch.setattr(files, "PAGE_LETTERS", 10)
    assert list(files.pages_of("abcde", 2, size=len)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(files.pages_of(["x" * 4, "x" * 6, "x" * 9, "x", "x"], 9, size=len)) == [["x" * 4, "x" * 6], ["x" * 9, "x"], ["x"]]
    assert list(files.pages_of([], 2, size=len)) == []


def test_a_table_puts_rows_of_another_width_aside_with_their_lines(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text('\n a ;b\n1;\n\n1;2;3\n"x\ny";2\n4\n')
    pages = [([{"a": "1", "b": None}, {"a": "x\ny", "b": "2"}], [(5, "3 columns, not 2", "1;2;3"), (8, "1 columns, not 2", "4")])]
    assert list(files.read_table(path, 9)) == pages, "the first line is blank, and counts"
    monkeypatch.setattr(files, "PAGE_CELLS", 4)
    assert [len(records) for records, _ in files.read_table(path, 9)] == [1, 1, 0], "two rows of two columns, broken ones among them"


def test_lines_that_are_no_object_are_bad_by_their_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n5\n{"a"\n[{"b": 2}]\n')
    [(records, bad)] = files.read_lines(path, 99)
    assert records == [{"a": 1}]
    assert [(number, why) for number, why, _ in bad if why == "no JSON object"] == [(3, "no JSON object"), (5, "no JSON object")]
    assert [number for number, why, _ in bad if why != "no JSON object"] == [4]
    [(records, bad)] = files.read_documents(written(tmp_path, '[{"a": 1}, 5]'), "[", 99)
    assert (records, bad) == ([{"a": 1}], [(2, "no JSON object", "5")])


def written(folder, text):
    path = folder / "written.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "nothing"), (["a", "b"], "a, b"), (list("abcdefgh"), "a, b, c, d, e, f, g, h"), (list("abcdefghi"), "a, b, c, d, e, f, g, h ..."),
        (["a", "2026-01-31"], "2 values where names of columns should be"), (["a;5", "b"], "3 values where names of columns should be"),
        (["x" * 70], "x" * 60),
    ],
)  # fmt: skip
def test_an_error_names_columns_and_no_values(names, words):
    assert files.names_in_words(names) == words


def test_the_beginning_of_a_line_is_quoted_unless_it_is_a_row_of_values():
    assert files.beginning_of("a,5,b") == "a row of 3 values"
    assert files.beginning_of("5") == "'5'"
    assert files.beginning_of(f"a  b\t{'c' * 70}") == repr(f"a b {'c' * 56}")


@pytest.mark.parametrize(
    ("pages", "line"),
    [
        ([([{"x": 1}], [])], "its only record is no event: the first has x; needed: a"),
        ([([{"x": 1}, {"y": 1}], [(3, "w", "t")])], "none of its 2 records is a event: the first has x; needed: a"),
        ([([], [(1, "w", "garbage"), (2, "w", "more")])], "none of its 2 lines is a record: the first begins with 'garbage'; needed: a"),
        ([([], [(1, "w", "garbage")])], "its only line is no event: the first begins with 'garbage'; needed: a"),
        ([([], [])], ""), ([([{"x": 1}], []), ([{"a": 1}], [])], ""),
    ],
)  # fmt: skip
def test_a_file_of_no_record_of_a_kind_is_one_line(pages, line):
    def read():
        return list(files.require_kind(pages, kind="event", needed="a", fits=lambda record: "a" in record))

    if not line:
        assert read() == pages
        return
    with pytest.raises(LayoutError) as error:
        read()
    assert str(error.value) == line
    with pytest.raises(LayoutError, match=r"^there: "):
        list(files.require_kind(pages, kind="event", needed="a", fits=lambda record: False, place="there"))


def test_a_pattern_that_names_no_file_says_why(tmp_path):
    assert files.no_file(f"{tmp_path}/") == f"{tmp_path}/ is a folder: name its files, such as {tmp_path}/*"
    assert files.no_file(tmp_path / "x*") == f"no file matches {tmp_path / 'x*'}"
    odd = tmp_path / "a[1].csv"
    odd.touch()
    (tmp_path / "a1.csv").touch()
    assert files.matching_files(odd) == [str(odd)], "a path that is there is no pattern"
    assert files.matching_files(tmp_path / "a?.csv") == [str(tmp_path / "a1.csv")]
    assert files.matching_files(tmp_path) == []
    assert files.matching_files("~no such user/a.csv") == []
    assert files.no_file("~no such user/a.csv") == "no file matches ~no such user/a.csv"


# ------------------------------------------------------------------------------------------- parts and heads


def test_a_part_is_named_by_where_it_came_from_and_linked_or_copied(tmp_path, monkeypatch):
    assert part_name("file", "a") == "file-ca978112ca1b.parquet"
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("x")
    link(old, new)
    assert new.samefile(old)
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("no links")))
    os.utime(old, (5, 5))
    link(old, tmp_path / "copy")
    assert ((tmp_path / "copy").read_text(), (tmp_path / "copy").stat().st_mtime) == ("x", 5)


def test_a_window_takes_its_begin_and_leaves_its_end(tmp_path):
    window = tuple(pd.Timestamp(day, tz="UTC") for day in ("2026-01-05", "2026-01-12"))
    extraction = Extraction(tmp_path, window)
    at = pd.Series(pd.to_datetime(["2026-01-05", "2026-01-11 23:59", "2026-01-12", "2026-01-04", None], utc=True, format="ISO8601"))
    assert extraction.within(at).tolist() == [True, True, False, False, True]
    assert (extraction.counts["outside"], extraction.ends) == (2, [at[0], at[1]])
    assert extraction.within(at, window[1], pd.Timestamp("2026-01-13", tz="UTC")).tolist() == [False, False, True, False, True]
    dated = extraction.of_part(begin=at[1], dated=True)
    assert dated.within(at).tolist() == [False, True, False, False, False]
    assert dated.window == (at[1], window[1])
    noted = dated.note()
    assert (noted["counts"], noted["ends"]) == ({"kept": 1, "outside": 4}, [str(at[1]), str(at[1])])
    assert (noted["before"], noted["after"]) == (str(at[0]), str(at[2])), "the nearest of those outside"
    extraction.put_aside("f", [(3, "why", "x" * 600 + "\n")])
    assert extraction.bad_lines == [("f", 3, "why", "x" * 500)]


@pytest.mark.parametrize(
    ("after", "is_anew"),
    [({}, False), ({"st_mtime_ns": 2, "st_size": 9}, False), ({"st_mtime_ns": 2}, True), ({"st_mtime_ns": 2, "st_size": 3}, True),
     ({"st_mtime_ns": 2, "st_ino": 7, "st_size": 3}, False), ({"st_mtime_ns": 2, "st_size": 5}, True)],
)  # fmt: skip
def test_a_log_that_grew_was_not_written_anew(after, is_anew):
    before = {"st_ino": 1, "st_mtime_ns": 1, "st_size": 5}
    assert was_rewritten(SimpleNamespace(**before), SimpleNamespace(**(before | after))) is is_anew
    empty = before | {"st_size": 0}
    assert was_rewritten(SimpleNamespace(**empty), SimpleNamespace(**(empty | {"st_mtime_ns": 2, "st_size": 9})))


def test_a_head_knows_its_lines_its_keys_and_its_columns(tmp_path):
    path = tmp_path / "A.CSV.gz"
    path.write_bytes(gzip.compress(b'\n\n "a" ;b\tc,d\n' + b"1\n" * 40))
    head = Head(path)
    assert (head.suffix, head.line, head.names, len(head.lines), head.keys) == (".csv", '"a" ;b\tc,d', ["a", "b", "c", "d"], 30, set())
    (tmp_path / "a.json").write_text('{"x": 1, "y" : {"z": [2]}}')
    assert Head(tmp_path / "a.json").keys == {"x", "y", "z"}
    (tmp_path / "empty").touch()
    assert (Head(tmp_path / "empty").line, Head(tmp_path / "empty").first_bytes) == ("", b"")


def test_words_and_urls_are_asked_and_paths_are_read():
    assert {"sacct"} <= live_words()
    assert [is_server(source) for source in ("sacct", "https://h", "data/x.csv", "other")] == [True, True, False, False]


# ----------------------------------------------------------------------------------------------------- looks


def test_both_ends_of_what_is_long_and_only_the_first_where_time_is_over(monkeypatch):
    rows = excerpts.ROWS
    assert excerpts.both_ends(range(5)) == ([0, 1, 2, 3, 4], True)
    kept, has_end = excerpts.both_ends(range(3 * rows))
    assert (kept[:rows], kept[rows:], has_end) == (list(range(rows)), list(range(2 * rows, 3 * rows)), True)
    times = count()
    monkeypatch.setattr(excerpts.time, "monotonic", lambda: next(times))
    assert excerpts.both_ends(range(3 * rows), patience_s=0) == (list(range(rows)), False)


def test_small_files_are_read_as_they_are_and_long_ones_by_their_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 30)
    monkeypatch.setattr(excerpts, "ROWS", 2)
    path, folder = tmp_path / "a.log", tmp_path / "kept"
    folder.mkdir()
    path.write_text("x" * 30)
    assert excerpts.excerpt_of_text(path, folder) == (str(path), True)
    path.write_text("".join(f"line {n}\n" for n in range(9)))
    kept, has_end = excerpts.excerpt_of_text(path, folder)
    assert (Path(kept).read_text().split("\n"), has_end) == (["line 0", "line 1", "line 7", "line 8", ""], True)
    path.write_text("line 0\nline 1\n" + "line 2" * 4 + "\n")  # the last 30 bytes begin within the second
    assert Path(excerpts.excerpt_of_text(path, folder)[0]).read_text() == path.read_text()
    path.write_text("line 0\nline 1\n" + "line 2" * 6 + "\n")
    kept, has_end = excerpts.excerpt_of_text(path, folder)
    assert (Path(kept).read_text(), has_end) == ("line 0\nline 1\n", False)
    path.write_text("".join(f"line {n}\n" for n in range(9)))
    packed = tmp_path / "b.log.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    kept, has_end = excerpts.excerpt_of_text(packed, folder)
    assert (os.path.basename(kept), Path(kept).read_text().split("\n")[:3], has_end) == ("b.log", ["line 0", "line 1", "line 7"], True)
    array = tmp_path / "c.json"
    array.write_text(json.dumps([{"n": n} for n in range(6)]))
    kept, has_end = excerpts.excerpt_of_records(array, folder)
    assert [json.loads(line)["n"] for line in Path(kept).read_text().splitlines()] == [0, 1, 4, 5]
    monkeypatch.setattr(excerpts, "ROWS", 3)
    prose = tmp_path / "d.csv"
    prose.write_text('a,b\n1,"x\ny"\n2,z\n' + "3,z\n" * 9)
    kept, has_end = excerpts.excerpt_of_prose(prose, folder)
    assert (Path(kept).read_text(), has_end) == ('a,b\n1,"x\ny"\n', False)


def look_of(**more):
    return Look("lines", **more)


def test_looks_at_several_files_are_one_look():
    first, second = (pd.Timestamp(day, tz="UTC") for day in ("2026-01-01", "2026-01-05"))
    whole = look_of(total=0)
    looks.add(whole, look_of(n_files=1, rows=5, bad=1, filled=frozenset("a"), oldest=second, newest=second, total=5, notes=["n"], problems=["p"]))
    looks.add(whole, look_of(n_files=1, rows=2, bad=2, filled=frozenset("b"), oldest=first, newest=None, total=7, notes=["n", "m"], problems=["p"]))
    assert (whole.n_files, whole.rows, whole.bad, whole.total) == (2, 7, 3, 12)
    assert (whole.filled, whole.oldest, whole.newest) == ({"a", "b"}, first, second)
    assert (whole.notes, whole.problems) == (["n", "m"], ["p", "p"])
    looks.add(whole, look_of(total=None))
    assert whole.total is None


class Kind:
    """A source that looks at files of lines, and recognises those that begin with its letter."""

    label, asked_last = "lines", False

    def recognises(self, head):
        return head.line.startswith("x")

    def excerpt(self, path, folder):
        return str(path), "cut" not in str(path)

    def look(self, path, *, settings, folder):
        return look_of(rows=3, newest=pd.Timestamp("2026-01-05", tz="UTC"))


def test_the_first_the_last_and_the_newest_file_are_looked_at_and_empty_ones_counted(tmp_path, monkeypatch):
    names = ["a", "b", "c", "d", "empty"]
    for at, name in enumerate(names):
        (tmp_path / name).write_text("" if name == "empty" else "x")
        os.utime(tmp_path / name, (9 if name == "b" else at, 9 if name == "b" else at))
    paths = [str(tmp_path / name) for name in names]
    looked = []
    monkeypatch.setattr(looks, "look_into", lambda source, path, settings, folder: looked.append(os.path.basename(path)) or look_of(rows=3, total=3))
    [(source, look)] = looks.look_at_files([Kind()], paths, {"day": "x"})
    assert (sorted(looked), source.label, look.n_files, look.rows, look.total) == (["a", "b", "d"], "lines", 4, 9, None)
    assert look.notes == ["1 of 5 files are empty"]
    times = count()
    monkeypatch.setattr(looks.time, "monotonic", lambda: 9 * next(times))
    [(source, look)] = looks.look_at_files([Kind()], paths, {"day": "x"})
    assert look.n_files == 3, "those that are looked at, and no other once the time is over"
    [(source, look)] = looks.look_at_files([Kind()], paths[-1:], {})
    assert (source, look.problems) == (None, ["every file is empty: export the source again"])


def test_where_the_end_was_not_reached_nobody_knows_how_new_it_is(tmp_path):
    whole = looks.look_into(Kind(), str(tmp_path / "whole"), {}, tmp_path)
    assert (whole.total, str(whole.newest.date()), whole.notes) == (3, "2026-01-05", [])
    cut = looks.look_into(Kind(), str(tmp_path / "cut"), {}, tmp_path)
    assert (cut.newest, cut.notes) == (None, ["the end of cut was not reached in time, so how new it is is not known"])


def test_a_server_is_asked_six_times_and_other_errors_at_once():
    asked = []

    def ask(error=TimeoutError):
        asked.append(error)
        raise error("x")

    with pytest.raises(TimeoutError):
        patient(ask, 0.0)()
    assert len(asked) == TRIES == 6
    with pytest.raises(ConnectionError):
        patient(ask, 0.0)(ConnectionError)
    assert len(asked) == 7
    assert patient(ask, None) is ask


# ----------------------------------------------------------------------------------------------- a document server


def answered(status, body):
    return elastic.read_answer("h", SimpleNamespace(status=status), body)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, {"error": {"type": "index_not_found_exception", "reason": "no such index [x]"}}, elasticsearch.NotFoundError, "no such index"),
        (401, {}, ConnectionError, r"^h refuses these credentials \(401\)"), (403, {}, ConnectionError, r"credentials \(403\)"),
        (429, {"error": "busy"}, TimeoutError, "^h does not answer: 429: busy$"), (500, {"error": {"reason": "r"}}, TimeoutError, "500: r$"),
        (503, {}, TimeoutError, "503"), (200, "text", ConnectionError, "^h answers no JSON"), (299, [], ConnectionError, "answers no JSON"),
        (404, {"error": {"type": "t", "reason": "r"}}, elastic.UnsupportedCall, "^h refuses this: 404: t: r$"),
        (405, {}, elastic.UnsupportedCall, "405"),
        (400, {"error": "no handler found for uri"}, elastic.UnsupportedCall, "400"),
        (400, {"error": "unrecognized parameter"}, elastic.UnsupportedCall, "400"),
        (400, {"error": "Incorrect HTTP method"}, elastic.UnsupportedCall, "400"), (300, {}, ConnectionError, "^h refuses this: 300"),
        (499, {"error": "x"}, ConnectionError, "^h refuses this: 499: x$"),
    ],
)  # fmt: skip
def test_what_a_status_means_is_one_line(status, body, kind, words):
    with pytest.raises(kind, match=words) as error:
        answered(status, body)
    assert isinstance(error.value, elastic.UnsupportedCall) == (kind is elastic.UnsupportedCall)


@pytest.mark.parametrize("status", [200, 299])
def test_a_good_answer_is_its_body(status):
    assert answered(status, {"a": 1}) == {"a": 1}


def hits_of(*numbers):
    return {"hits": {"hits": [{"_source": {"n": n}, "sort": [n]} for n in numbers], "total": {"value": 3}}}


def test_pages_follow_a_point_in_time_that_is_closed_at_the_end():
    asked, answers = [], iter([hits_of(1, 2), hits_of(3) | {"pit_id": "q"}, hits_of()])

    def ask(call, **how):
        asked.append((call, how))
        return {"id": "p"} if call == "open_point_in_time" else next(answers) if call == "search" else {}

    assert list(elastic.read_pages(ask, "i", {"match_all": {}}, 2)) == [[{"n": 1}, {"n": 2}], [{"n": 3}]]
    searches = [how for call, how in asked if call == "search"]
    assert [(how["pit"]["id"], how["search_after"], how["size"], how["track_total_hits"]) for how in searches] == [
        ("p", None, 2, False), ("p", [2], 2, False), ("q", [3], 2, False)
    ]  # fmt: skip
    assert asked[-1] == ("close_point_in_time", {"id": "q"})


def scroll(*pages, total=3):
    asked, answers = [], iter([*pages, hits_of()])

    def ask(call, **how):
        asked.append((call, how))
        if call == "open_point_in_time":
            raise elastic.UnsupportedCall("x")
        if call == "clear_scroll":
            raise OSError("it expires by itself")
        page = next(answers)
        return {"hits": page["hits"] | {"total": total}, "_scroll_id": "s"}

    return ask, asked


@pytest.mark.parametrize("total", [3, {"value": 3}])
def test_without_points_in_time_pages_follow_a_scroll(total):
    ask, asked = scroll(hits_of(1, 2), hits_of(3), total=total)
    assert list(elastic.read_pages(ask, "i", {}, 2)) == [[{"n": 1}, {"n": 2}], [{"n": 3}]]
    assert [call for call, _ in asked] == ["open_point_in_time", "search", "scroll", "scroll", "clear_scroll"]
    assert (asked[1][1]["track_total_hits"], asked[2][1]) == (True, {"scroll": "5m", "scroll_id": "s"})


def test_a_page_of_a_scroll_that_was_lost_is_missed():
    ask, _ = scroll(hits_of(1, 2))
    with pytest.raises(ConnectionError, match=r"^2 of 3 documents of i came"):
        list(elastic.read_pages(ask, "i", {}, 2))
