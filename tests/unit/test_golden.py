"""Golden JSON: what is read is what was written, what is wrong is said in one line, and ranges agree with sets of lumisections."""

import itertools
import json
import time

import numpy as np
import pandas as pd
import pytest
from conftest import within
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.sources.certification.golden import golden_ranges, in_ranges, read_golden, write_golden

lumisections = st.lists(st.tuples(st.integers(1, 6) | st.integers(1, 2**31 - 1), st.integers(1, 30) | st.just(2**31 - 1)), max_size=60)


def frame_of(pairs):
    return pd.DataFrame(list(pairs), columns=["run", "lumisection"], dtype="int64")


def refusal(path, text):
    """The one line with which the file `path` that holds `text` is refused."""
    path.write_text(text)
    with pytest.raises(ValueError, match=path.name) as error:
        read_golden(path)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@settings(max_examples=200, deadline=None)
@given(lumisections)
def test_parse_write_parse_gives_the_same(tmp_path_factory, pairs):
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    ranges = golden_ranges(frame_of(pairs))
    write_golden(ranges, path)
    written = path.read_bytes()
    assert read_golden(path) == json.loads(written, object_pairs_hook=lambda runs: {int(run): p for run, p in runs}) == ranges
    write_golden(read_golden(path), path)
    assert path.read_bytes() == written


@settings(max_examples=200, deadline=None)
@given(lumisections, st.randoms())
def test_ranges_hold_exactly_the_lumisections_in_any_order_and_none_twice(pairs, random):
    ranges = golden_ranges(frame_of(pairs))
    shuffled = pairs + pairs[:3]
    random.shuffle(shuffled)
    assert golden_ranges(frame_of(shuffled)) == ranges
    assert sum(last - first + 1 for each in ranges.values() for first, last in each) == len(set(pairs))
    assert list(ranges) == sorted(ranges)
    for each in ranges.values():
        assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(each)), "joined where they touch"
    assert in_ranges(frame_of(pairs), ranges).all()
    near = {(run, lumisection + step) for run, lumisection in pairs for step in (-1, 0, 1)} | {(run + 1, ls) for run, ls in pairs} | {(1, 1)}
    np.testing.assert_array_equal(in_ranges(frame_of(near), ranges), [one in set(pairs) for one in near])


def test_what_is_written_is_a_run_per_line_by_number(tmp_path):
    write_golden({400123: [[1, 3], [7, 7]], 99: [[2, 2]], 400124: []}, tmp_path / "a/golden.json")
    assert (tmp_path / "a/golden.json").read_text() == '{"99": [[2, 2]],\n "400123": [[1, 3], [7, 7]],\n "400124": []}\n'
    assert read_golden(tmp_path / "a/golden.json") == {99: [[2, 2]], 400123: [[1, 3], [7, 7]], 400124: []}
    write_golden({}, tmp_path / "none.json")
    assert read_golden(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "it is empty; a file that certifies nothing holds {}"),
        ('{"1": [[1, 2]]', "Expecting"),
        ("run,first,last", "no JSON object"),
        ("<html/>", "it is XML without runs"),
        ("<LumiBlockCollection><Run>7</Run><LBRange Start='1' End='2'/></LumiBlockCollection>", "a run without number or ranges"),
        ('<LumiBlockCollection><Run>7</Run><LBRange Start="3" End="2"/></LumiBlockCollection>', "ends before it begins"),
        ("[[1, 2]]", "no JSON object"),
        ("[" * 100_000, "RecursionError"),
        ('{"run": [[1, 2]]}', "run 'run' is no positive integer"),
        ('{"0": [[1, 2]]}', "run '0' is no positive integer"),
        ('{"-5": [[1, 2]]}', "run '-5' is no positive integer"),
        ('{"1.0": [[1, 2]]}', "run '1.0' is no positive integer"),
        ('{"\u0661": [[1, 2]]}', "is no positive integer"),
        ('{"2147483648": [[1, 2]]}', "run '2147483648' is no positive integer"),
        ('{"7": 5}', "run 7 has no list of ranges but 5"),
        ('{"7": {"1": 2}}', "run 7 has no list of ranges"),
        ('{"7": [1, 2]}', "run 7: 1 is no pair of positive integers"),
        ('{"7": [[1, 2, 3]]}', "run 7: [1, 2, 3] is no pair"),
        ('{"7": [[1, 3.0]]}', "run 7: [1, 3.0] is no pair"),
        ('{"7": [[true, 3]]}', "run 7: [True, 3] is no pair"),
        ('{"7": [["1", "3"]]}', "run 7: ['1', '3'] is no pair"),
        ('{"7": [[1, null]]}', "run 7: [1, None] is no pair"),
        ('{"7": [[1, NaN]]}', "run 7: [1, nan] is no pair"),
        ('{"7": [[0, 3]]}', "run 7: [0, 3] is no pair"),
        ('{"7": [[-4, 3]]}', "run 7: [-4, 3] is no pair"),
        ('{"7": [[4, -1]]}', "such as [1, 30], or [1, 268435455] where the end of the run is meant"),
        ('{"7": [[3, 0], [9, 12]]}', "run 7: [9, 12] begins at or before 268435455"),
        ('{"7": [[5, 4]]}', "run 7: [5, 4] ends before it begins"),
        ('{"6": [[1, 9]], "7": [[1, 4], [4, 9]]}', "run 7: [4, 9] begins at or before 4"),
        ('{"7": [[10, 14], [1, 2]]}', "run 7: [1, 2] begins at or before 14"),
        ('{"7": [[1, 2]], "8": [], "7": [[4, 5]]}', "run 7 is named twice"),
        ('{"1": [[1, 2]], "01": [[4, 5]]}', "run 1 is named twice"),
    ],
)
def test_what_is_no_golden_json_is_refused_in_one_line(tmp_path, text, wrong):
    assert wrong in refusal(tmp_path / "golden.json", text)


@pytest.mark.parametrize("end", [0, 9999, 268435455])
def test_an_open_range_reaches_to_the_end_of_its_run(tmp_path, end):
    path = tmp_path / "golden.json"
    path.write_text(json.dumps({"7": [[1, 2], [5, end]], "8": [[2, 3]]}))
    ranges = read_golden(path)
    assert ranges == {7: [[1, 2], [5, 268435455]], 8: [[2, 3]]}
    frame = pd.DataFrame({"run": [7, 7, 7, 7, 8, 8], "lumisection": [2, 4, 5, 20_000, 3, 4]})
    assert in_ranges(frame, ranges).tolist() == [True, False, True, True, True, False]
    write_golden(ranges, path)
    assert read_golden(path) == ranges


def test_a_good_run_list_names_runs_and_blocks_with_open_ends(tmp_path):
    one, comment = '<LumiBlockCollection><Run>9</Run><LBRange Start="5" End="6"/><LBRange Start="8"/></LumiBlockCollection>', "<!-- {} -->"
    other = '<LumiBlockCollection>\n<Run> 7 </Run>\n<LBRange Start="3" End="2147483647" />\n</LumiBlockCollection>'
    (tmp_path / "runs.xml").write_text(comment.format(one) + "<LumiRangeCollection>" + one + other + "</LumiRangeCollection>")
    assert read_golden(tmp_path / "runs.xml") == {7: [[3, 268435455]], 9: [[5, 6], [8, 268435455]]}
    (tmp_path / "marked.xml").write_text(other, encoding="utf-8-sig")
    assert read_golden(tmp_path / "marked.xml") == {7: [[3, 268435455]]}


def test_a_glob_joins_files_and_a_run_in_two_of_them_is_refused(tmp_path):
    (tmp_path / "golden_b.json").write_text('{"3": [[1, 2]]}')
    (tmp_path / "golden_a.json").write_text('{"12": [[4, 5]], "5": []}')
    assert list(read_golden(tmp_path / "golden_*.json").items()) == [(3, [[1, 2]]), (5, []), (12, [[4, 5]])]
    (tmp_path / "golden_c.json").write_text('{"3": [[8, 9]]}')
    with pytest.raises(ValueError, match=r"golden_c.json cannot be read: ValueError: run 3 is named twice"):
        read_golden(tmp_path / "golden_*.json")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        read_golden(tmp_path / "silver_*.json")
    (tmp_path / "golden_c.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"golden_c.json cannot be read"):
        read_golden(tmp_path / "golden_*.json")


def test_no_lumisection_and_no_range_give_empty_answers():
    empty = frame_of([])
    assert golden_ranges(empty) == {}
    assert in_ranges(empty, {5: [[1, 2]]}).shape == (0,)
    assert in_ranges(frame_of([(5, 1)]), {}).tolist() == [False]
    assert in_ranges(frame_of([(5, 1), (4, 3)]), {5: []}).tolist() == [False, False]


def test_a_million_lumisections_are_looked_up_in_a_second():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"run": rng.integers(300_000, 301_000, 1_000_000), "lumisection": rng.integers(1, 2000, 1_000_000)})
    ranges = {run: [[100 * k + 1, 100 * k + 60] for k in range(20)] for run in range(300_100, 300_900)}
    took = []
    for _ in range(3):  # the quickest counts: 0.08 s alone on a processor, and other tests run beside this one
        begun = time.perf_counter()
        found = in_ranges(frame, ranges)
        took.append(time.perf_counter() - begun)
    assert within(min(took), 1)
    np.testing.assert_array_equal(found, frame.run.between(300_100, 300_899) & ((frame.lumisection - 1) % 100 < 60))
