"""Helpers, and functions of single studies, on hand-made records whose answer is known."""

import contextlib
import csv
import gzip
import json
import re

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pytest
from hostile import MARKDOWN, MARKUP, TEXTS
from rucio_events import states_at_starts

import helpers
from nightshift.detectors.accounting_trials import mean_recall
from nightshift.detectors.transfers_predictors import fit_quantile_table, split_by_time
from nightshift.detectors.transfers_quantiles import encode_inputs, pinball, predict_quantiles
from nightshift.detectors.transfers_scan import SCAN_COLUMNS, scan_incidents
from nightshift.privacy import pseudonyms
from nightshift.sources import files
from nightshift.sources.tables import read_optional
from nightshift.status import write_bad_lines, write_status


def test_atomic_leaves_nothing_when_the_block_fails(tmp_path):
    target = tmp_path / "deep/file.json"

    def fail_half_way():
        with helpers.atomic(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(target.parent.iterdir()) == []


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    helpers.write_json({"a": 1}, tmp_path / "x.json")
    with pytest.raises(ValueError, match="Out of range"):
        helpers.write_json({"a": float("nan")}, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}


def test_a_path_in_a_home_that_nobody_has_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^no home folder is known for ~nobody9/x$"):
        helpers.project_path("~nobody9/x")
    assert helpers.project_path("x") == helpers.ROOT / "x"


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_read_records_puts_bad_lines_aside_with_their_number(tmp_path, name):
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wb") as out:
        out.write(b'{"a": 1}\n\nnot json\n[1]\n{"a": "\xff"}\n{"a": 2')
    pages = list(files.read_records(tmp_path / name, chunk_rows=2))
    records = [r for page, _ in pages for r in page]
    bad = [(number, text) for _, page in pages for number, _, text in page]
    assert records == [{"a": 1}, {"a": "�"}]
    assert bad == [(3, "not json"), (4, "[1]"), (6, '{"a": 2')]


def test_read_records_reads_csv_as_text(tmp_path):
    (tmp_path / "e.csv").write_text("request-id,bytes\n007,\n008,12\n")
    [(records, bad)] = files.read_records(tmp_path / "e.csv")
    assert records[1] == {"request-id": "008", "bytes": "12"}
    assert records[0]["request-id"] == "007"
    assert records[0]["bytes"] is None
    assert bad == []


def test_a_damaged_archive_is_an_error_not_an_empty_file(tmp_path):
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises((OSError, EOFError)):
        list(files.read_records(tmp_path / "e.jsonl.gz"))


def test_an_optional_table_is_the_named_one_the_samples_or_none(tmp_path):
    columns, table = ["entity", "site"], pd.DataFrame({"entity": ["vo at A"], "site": ["A"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        pd.testing.assert_frame_equal(read_optional(str(tmp_path / name), None, columns), table, check_dtype=False)
        pd.testing.assert_frame_equal(read_optional("sample", tmp_path / name, columns), table, check_dtype=False)
    for path, sample in (("sample", None), ("", None), ("", tmp_path / "t.csv")):  # the sample's truth says nothing of another source
        nothing = read_optional(path, sample, columns)
        assert (len(nothing), nothing.columns.tolist()) == (0, columns)
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        read_optional(str(tmp_path / "gone.csv"), tmp_path / "t.csv", columns)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"entity,site\n" + b"a,b\n" * 1000)[:-20])
    with pytest.raises(ValueError, match=r"cut\.csv\.gz cannot be read"):
        read_optional(str(tmp_path / "cut.csv.gz"), None, columns)


def test_an_optional_table_of_text_is_read_as_it_is_written(tmp_path):
    """As numbers 007 would be 7, and all the others 17.0 where one is missing; a label called None would be none."""
    (tmp_path / "t.csv").write_text("ticket_id,label\n007,NA\n,x\n17,None\n18,\n")
    table = read_optional(str(tmp_path / "t.csv"), None, ["ticket_id", "label"], text=True)
    assert table.fillna("").to_numpy().tolist() == [["007", "NA"], ["", "x"], ["17", "None"], ["18", ""]]
    pd.DataFrame({"ticket_id": [7, None], "label": ["a", "b"]}).to_parquet(tmp_path / "t.parquet")
    table = read_optional(str(tmp_path / "t.parquet"), None, ["ticket_id", "label"], text=True)
    assert table.ticket_id.astype("string").fillna("").tolist() == ["7", ""]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", "entity,site\nvo at A,Zürich\n".encode("latin-1"), "t.csv is no text in UTF-8: save it as such"),
        ("t.csv", b"", "t.csv cannot be read: No columns to parse from file"),
        ("t.csv", b"entity,site\na,b\na,b,c\n", "t.csv cannot be read: Error tokenizing data. C error: Expected 2 fields in line 3, saw 3"),
        ("t.parquet", b"entity,site\na,b\n", "t.parquet cannot be read: Could not open Parquet input source"),
    ],
    ids=["Latin-1", "empty", "too many cells", "no Parquet"],
)
def test_an_optional_table_that_cannot_be_read_is_one_line(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(line)) as error:
        read_optional(str(tmp_path / name), None, ["entity", "site"])
    assert str(error.value).startswith(str(tmp_path))
    assert len(str(error.value).splitlines()) == 1


def test_bad_lines_come_back_whatever_they_hold_and_none_leaves_the_header(tmp_path):
    bad = [("a.jsonl", 3, "no JSON object", 'a "quoted", line'), ("a.jsonl", 7, "cut", "half\t\ufffd of it")]
    write_bad_lines(tmp_path / "raw", bad)
    read = pd.read_csv(tmp_path / "raw/bad_lines.csv")
    assert read.columns.tolist() == ["file", "line", "reason", "text"]
    assert list(read.itertuples(index=False, name=None)) == bad
    write_bad_lines(tmp_path / "raw", [("=a.csv", 1, "no number", "=cmd|' /C x'!A0"), ("b", 2, "cut", "\x1b]0;title\x07\x1b[2Ja\x00")])
    text = (tmp_path / "raw/bad_lines.csv").read_text()
    assert text.splitlines()[1:] == ["'=a.csv,1,no number,'=cmd|' /C x'!A0", "b,2,cut,\ufffd\ufffda\ufffd"]
    write_bad_lines(tmp_path / "raw", [])  # the lines of an earlier night do not stay
    assert (tmp_path / "raw/bad_lines.csv").read_text().splitlines() == ["file,line,reason,text"]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["bad_lines.csv"]


def test_status_has_no_secrets(tmp_path):
    status = write_status(tmp_path, state="ok", rows=0, newest="x", source="https://me:secret@host:9200/?key=s3", window=["a", "b"])
    assert status["source"] == "https://host:9200/"
    assert status["newest"] is None
    assert "secret" not in (tmp_path / "status.json").read_text()


def test_check_schema_names_file_column_and_rows():
    schema = pandera.DataFrameSchema({"bytes": pandera.Column(float, pandera.Check.ge(0))})
    with pytest.raises(ValueError, match=r"clean\.parquet: column 'bytes' .* in 2 rows"):
        helpers.check_schema(pd.DataFrame({"bytes": [1.0, -5.0, -6.0]}), schema, "clean.parquet")


def test_state_features_of_three_transfers_by_hand():
    # A runs 0..10, B runs 5..30, C starts at 20: A has ended, B is in flight
    state = states_at_starts([0, 5, 20], [10, 30, 40], [0, 0, 0], [2.0, 0.0, 0.0], [2.4, 0, 0], [False] * 3, time_constant_s=100)
    assert state[:, 0].tolist() == [0, 1, 1]
    assert np.isnan(state[:2, 1:3]).all()
    assert state[2, 1:3] == pytest.approx([2.0, 2.4])
    assert state[2, 3] == 0


def test_failures_count_as_failures_and_not_as_speed():
    state = states_at_starts([0, 50], [10, 60], [0, 0], [9.0, 1.0], [9.0, 1.0], [True, False], time_constant_s=1e9)
    assert np.isnan(state[1, 1])
    assert state[1, 3] == pytest.approx(1 / 2, rel=1e-3)


def test_speeds_of_more_than_84_time_constants_ago_are_forgotten():
    states = [states_at_starts([0, later], [1, later + 1], [0, 0], [2.0, 0.0], [2.4, 0], [False] * 2, time_constant_s=10)[1] for later in (841, 842)]
    assert states[0][1:3] == pytest.approx([2.0, 2.4])
    assert np.isnan(states[1][1:3]).all()


def test_categories_only_grow_and_unseen_is_zero():
    first = helpers.fit_categories(pd.DataFrame({"rse": ["B", "A", "B"]}), ["rse"])
    assert first == {"rse": ["B", "A"]}
    second = helpers.fit_categories(pd.DataFrame({"rse": ["C", "A", None]}), ["rse"], first)
    assert second == {"rse": ["B", "A", "C"]}
    codes = helpers.encode_categories(pd.DataFrame({"rse": ["A", "Z", None, "B"]}), first)
    assert codes.rse.tolist() == [2, 0, 0, 1]


def test_codes_newer_than_the_model_read_as_unseen_and_the_frame_is_untouched():
    frame = pd.DataFrame({"x": [1.0, np.nan], "rse": ["new", "old"]})
    before = frame.copy()
    numbers, codes = encode_inputs(frame, {"x": {"mean": 1.0, "std": 2.0}}, {"rse": 1}, {"rse": ["old", "new"]})
    assert numbers[0, 0] == 0
    assert np.isnan(numbers[1, 0])
    assert codes[:, 0].tolist() == [0, 1]
    pd.testing.assert_frame_equal(frame, before)


def test_a_table_in_parts_is_the_table_at_once_and_none_where_writing_it_fails(tmp_path):
    frame = pd.DataFrame({"name": pd.Categorical(["a", None, "b", "a"]), "number": [1.0, 2, 3, 4]}, index=[4, 5, 6, 7])
    frame.attrs["measure"] = "loss"
    with helpers.parquet_in_parts(tmp_path / "parts.parquet") as write:
        write(frame[:1])
        write(frame[1:])
    helpers.write_parquet(frame.astype({"name": "str"}), tmp_path / "once.parquet")
    back, once = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("parts", "once"))
    pd.testing.assert_frame_equal(back, once)
    assert back.attrs == {"measure": "loss"}
    with contextlib.suppress(RuntimeError), helpers.parquet_in_parts(tmp_path / "parts.parquet") as write:
        write(frame[:1])
        raise RuntimeError
    with pytest.raises(ValueError, match="no part"), helpers.parquet_in_parts(tmp_path / "none.parquet"):
        pass
    assert len(pd.read_parquet(tmp_path / "parts.parquet")) == 4
    assert len(list(tmp_path.iterdir())) == 2


def test_split_purges_what_ends_after_its_part():
    start = pd.date_range("2026-01-01", periods=10, freq="h", tz="UTC")
    end = start + pd.to_timedelta([0.5] * 4 + [3] + [0.5] * 5, unit="h")
    part = split_by_time(start, end, {"train": 0.5, "test": 0.5})
    assert part.tolist() == ["train"] * 4 + ["purged"] + ["test"] * 5


def test_quantile_table_falls_back_to_coarser_tables(tmp_path):
    frame = pd.DataFrame({"link": ["a"] * 5 + ["b"] * 5, "size": [1] * 10})
    target = np.r_[np.full(5, 1.0), np.full(5, 3.0)]
    helpers.write_json(fit_quantile_table(frame, target, ["link", "size"]), tmp_path / "t.json")
    asked = pd.DataFrame({"link": ["a", "new", "new"], "size": [1, 1, 9]})
    predicted = predict_quantiles(tmp_path / "t.json", asked, None, None)
    assert predicted[:, 0].tolist() == [1, 2, 2]  # its link; its size; everything
    assert (np.diff(predicted, axis=1) >= 0).all()


def test_the_mean_of_two_predictors_is_the_mean_of_their_quantiles(tmp_path):
    frame, target = pd.DataFrame({"link": ["a"] * 5 + ["b"] * 5}), np.r_[np.full(5, 1.0), np.full(5, 3.0)]
    for name, keys in (("table.json", ["link"]), ("all.json", [])):
        helpers.write_json(fit_quantile_table(frame, target, keys), tmp_path / name)
    helpers.write_json({"mean_of": ["table.json", "all.json"]}, tmp_path / "mean.json")
    assert predict_quantiles(tmp_path / "mean.json", frame.iloc[[0, 9]], None, None).tolist() == [[1.5, 2, 2], [2.5, 3, 3]]


def test_pinball_of_the_median_is_half_the_absolute_error():
    assert pinball(np.array([3.0]), np.array([[1.0]]), [0.5]) == pytest.approx([1.0])
    assert pinball(np.array([0.0]), np.array([[1.0]]), [0.9]) == pytest.approx([0.1])


def test_mean_recall_by_hand():
    found = pd.DataFrame({"ours": [True, False, True, False], "theirs": [False, False, True, True]})
    mean, drawn = mean_recall(found, ["silent", "silent", "silent", "halved"], ["A", "B", "C", "B"], rng=np.random.default_rng(1))
    assert mean.to_dict() == pytest.approx({"ours": (2 / 3 + 0) / 2, "theirs": (1 / 3 + 1) / 2})
    assert drawn.shape == (1000, 2)
    assert drawn.to_numpy().min() >= 0
    assert drawn.to_numpy().max() <= 1
    assert drawn.columns.tolist() == ["ours", "theirs"]


def test_a_kind_that_a_resample_lacks_is_left_out_of_its_mean():
    found = pd.DataFrame({"ours": [True, True, False]})  # A was hit twice by the one kind, B once by the other
    mean, drawn = mean_recall(found, ["silent", "silent", "halved"], ["A", "A", "B"], rng=np.random.default_rng(1), resamples=4000)
    assert mean.tolist() == [0.5]
    shares = drawn.ours.value_counts(normalize=True)
    assert set(shares.index) == {0, 0.5, 1}  # only B, both, only A: its trials are drawn together
    assert shares[[0, 0.5, 1]].tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 4], abs=0.03)
    with pytest.raises(ValueError, match="no trial"):
        mean_recall(found.iloc[:0], [], [], rng=np.random.default_rng(1))


def scan_items(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    items = pd.DataFrame(
        {
            "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.sort(rng.uniform(0, 7 * 86400, n)), unit="s"),
            "src": rng.choice(list("ABCDEF"), n),
            "dst": rng.choice(list("UVWXYZ"), n),
            "expected": 0.01,
        }
    )
    items["link"] = items.src + " -> " + items.dst
    return items.assign(flagged=rng.random(n) < 0.01)


LINKS = {"link": ["link"], "src": ["src"], "dst": ["dst"]}
SITES = LINKS | {"site": ["src_site", "dst_site"]}


def with_sites(items):
    """The items with names of storages of which two at a time are one site: 1 holds A, B, U, V and so on."""
    sites = {name: str(1 + i // 2) for names in ("ABCDEF", "UVWXYZ") for i, name in enumerate(names)}
    return items.assign(src_site=items.src.map(sites), dst_site=items.dst.map(sites))


def test_scan_finds_nothing_on_normal_nights():
    found = [len(scan_incidents(scan_items(seed=seed), LINKS, clump="link")) for seed in range(20)]
    assert np.mean(found) <= 0.15  # at most 0.05 stated per night, 20 nights seen


def test_scan_reports_a_slow_destination_once_and_not_per_link():
    items = scan_items()
    inside = (items.dst == "X") & items.time.between("2026-01-03T06:00Z", "2026-01-03T18:00Z")
    items.loc[inside, "flagged"] = np.random.default_rng(1).random(inside.sum()) < 0.6
    found = scan_incidents(items, LINKS, clump="link")
    assert found[["entity_kind", "entity"]].values.tolist() == [["dst", "X"]]
    assert found.start[0] >= pd.Timestamp("2026-01-03T06:00Z")
    assert found.end[0] <= pd.Timestamp("2026-01-03T18:00Z")


def test_a_site_in_trouble_at_both_ends_is_one_incident():
    items = with_sites(scan_items())
    hit = ((items.src_site == "2") | (items.dst_site == "2")) & items.time.between("2026-01-03T06:00Z", "2026-01-03T18:00Z")
    items.loc[hit, "flagged"] = np.random.default_rng(1).random(hit.sum()) < 0.6
    found = scan_incidents(items, SITES, clump="link")
    assert found[["entity_kind", "entity"]].values.tolist() == [["site", "2"]]
    inside = items[hit & items.time.between(found.start[0], found.end[0])]
    assert found["items"][0] == len(inside)  # what has the site at both ends counts once
    assert found.flagged[0] == inside.flagged.sum()
    assert len(scan_incidents(items, LINKS, clump="link")) > 1


def test_a_slow_storage_is_no_slow_site():
    items = with_sites(scan_items())
    hit = (items.dst == "W") & items.time.between("2026-01-03T06:00Z", "2026-01-03T18:00Z")
    items.loc[hit, "flagged"] = True
    assert scan_incidents(items, SITES, clump="link")[["entity_kind", "entity"]].values.tolist() == [["dst", "W"]]
    alone = items.assign(src_site=items.src, dst_site=items.dst)  # a site that is one storage, and no source
    assert scan_incidents(alone, SITES, clump="link")[["entity_kind", "entity"]].values.tolist() == [["dst", "W"]]


def test_one_burst_of_files_is_no_incident():
    items = scan_items(seed=3)
    items["flagged"] = False
    items.loc[items.index[:2000:40], "flagged"] = True  # bursts exist on normal nights too: luck is shared in them
    first = pd.Timestamp("2026-01-01", tz="UTC")
    many = [
        pd.DataFrame(
            {"time": first + pd.Timedelta(hours=13 * i), "src": f"S{i}", "dst": f"D{i}", "link": f"L{i}", "expected": 0.01, "flagged": True},
            index=range(30),
        )
        for i in range(12)
    ]
    assert len(scan_incidents(pd.concat([items, *many], ignore_index=True), LINKS, clump="link")) == 0


def test_a_missing_name_does_not_stop_the_scan():
    items = scan_items()
    items.loc[items.index[:50], "src"] = None
    items.loc[items.dst == "X", "flagged"] = True
    assert "X" in scan_incidents(items, LINKS, clump="link").entity.tolist()


def test_scan_of_nothing_is_an_empty_table():
    empty = scan_incidents(scan_items().iloc[:0], LINKS, clump="link")
    assert list(empty.columns) == SCAN_COLUMNS
    assert len(empty) == 0


@pytest.mark.parametrize("hostile", ["a\n# b", "`x` *y* |z|", "&lt;", *MARKUP, *MARKDOWN])
def test_escape_leaves_no_markup(hostile):
    from nbconvert.filters import markdown2html

    text = helpers.escape(hostile)
    page = markdown2html(f"before {text} after")
    assert not any(tag in page for tag in ("<script", "<a", "<h1", "<code", "<em", "<table"))


def test_escaped_words_read_as_they_were_written():
    import mistune
    from bs4 import BeautifulSoup

    written = """tonight's "can't" #3 & [x] <b> 5 * 4"""
    assert BeautifulSoup(mistune.html(helpers.escape(written)), "html.parser").get_text().strip() == written


def test_a_dollar_in_a_name_is_a_dollar_in_a_title(tmp_path):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    helpers.show_figure(ax, tmp_path / "f.png", "site $a_{ costs $$ \\frac{", "x", "y")
    assert (tmp_path / "f.png").stat().st_size > 1000


def finding(**more):
    """A finding as a notebook makes it, with a column of its own."""
    row = {"kind": "silent", "entity": "n1", "site": "A", "evidence": "x", "unit": "h", "observed": 1, "expected": 1, "impact": 1}
    return row | {"score": 1, "p_value": 1, "start": pd.NaT, "end": pd.NaT, "members": 3} | more


def test_findings_have_the_same_columns_and_types_whether_or_not_there_are_any(tmp_path):
    path = tmp_path / "findings.parquet"
    rows = [finding(impact=np.nan, unit=np.nan), finding(entity=None, expected=None)]
    helpers.write_findings(pd.DataFrame(rows), path, "telemetry")
    some = pd.read_parquet(path)
    assert list(some.columns) == helpers.FINDING_COLUMNS
    assert (some.unit[0], some.entity[1]) == ("", "")
    assert some[["impact", "expected"]].isna().to_numpy().tolist() == [[True, False], [False, True]]
    types = {name: str(kind) for name, kind in some.dtypes.items()}
    assert types.pop("start") == types.pop("end") == "datetime64[us, UTC]"
    assert {name for name in types if types[name] == "float64"} == {"score", "p_value", "observed", "expected", "impact"}
    assert set(types.values()) == {"float64", "str"}
    for nothing in ([], pd.DataFrame(), pd.DataFrame([finding()]).head(0)):
        helpers.write_findings(nothing, path, "telemetry")
        assert pd.read_parquet(path).dtypes.to_dict() == some.dtypes.to_dict()


def test_what_a_study_yaml_says_of_its_findings_is_filled_in_and_evidence_is_one_line():
    rows = [finding(), finding(kind="idle_gpu", evidence="two\nlines"), finding(kind="a label of its source")]
    table = helpers.build_findings(rows, "telemetry")
    assert set(table.study) == {"telemetry"}
    assert table.impact_unit.tolist() == ["nodes", "GPU hours", "nodes"]
    assert table.evidence.tolist() == ["x", "two lines", "x"]
    least = {name: finding()[name] for name in helpers.NEEDED}
    assert helpers.build_findings([least], "telemetry").loc[0, ["site", "unit", "figure"]].tolist() == ["", "", ""]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"impact": -1}, "^findings of transfers: n1 has a negative impact$"),
        ({"p_value": np.nan}, "^findings of transfers: n1 has a p-value that is no probability$"),
        ({"evidence": " \n"}, "^findings of transfers: n1 says no evidence$"),
        ({"kind": "haunted"}, "^transfers has no kind of finding 'haunted': its study.yaml lists slow_link, "),
    ],
)
def test_a_finding_that_breaks_the_contract_is_refused_in_one_line_and_nothing_written(tmp_path, wrong, line):
    path, right = tmp_path / "night.parquet", finding(kind="slow_link", entity="n0")
    with pytest.raises(ValueError, match=line):
        helpers.write_findings([right, right | {"entity": "n1"} | wrong], path, "transfers")
    with pytest.raises(KeyError, match="findings of transfers have no column evidence"):
        helpers.write_findings(pd.DataFrame([right]).drop(columns="evidence"), path, "transfers")
    with pytest.raises(ValueError, match="there is no study 'gone'"):
        helpers.write_findings([right], path, "gone")
    assert not path.exists()


def test_record_metrics_names_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="lstm lacks"):
        helpers.record_metrics(tmp_path / "m.json", study="transfers", day="2026-01-01", models=[{"name": "lstm"}])
    assert not (tmp_path / "m.json").exists()


def test_pseudonyms_last_with_a_key_and_only_then(monkeypatch):
    names = pd.Series(["ada", "", "bo", "ada"])
    found = {}
    for run, key in (("none", None), ("empty", ""), ("key", "secret"), ("again", "secret"), ("other", "secret2")):
        monkeypatch.delenv("NIGHTSHIFT_KEY", raising=False) if key is None else monkeypatch.setenv("NIGHTSHIFT_KEY", key)
        found[run], lasting = pseudonyms(names)
        assert lasting == bool(key)
        assert found[run].str.fullmatch("user-[0-9a-f]{8}").tolist() == [True, False, True, True]
        assert found[run][1] == ""
        assert found[run][0] == found[run][3] != found[run][2]
    assert found["key"].equals(found["again"])
    assert len({pseudonym[0] for pseudonym in found.values()}) == 4
    assert pseudonyms(names[:0])[0].empty


def test_raw_data_can_be_read_by_their_owner_alone(tmp_path):
    raw = helpers.study_paths("tickets", tmp_path).raw
    assert not raw.parent.exists()
    status = {"state": "ok", "rows": 0, "newest": None, "source": "hand", "window": ["2026-01-31"] * 2}
    for _ in range(2):
        write_status(raw, **status)
        assert raw.parent.stat().st_mode & 0o777 == 0o700
        raw.parent.chmod(0o755)  # as an earlier version left it


def test_a_table_of_hostile_texts_has_their_rows_and_no_formula(tmp_path):
    """Also for Python's reader, to which a carriage return ends a row where no quotes are around it."""
    table = pd.DataFrame({"text": TEXTS, "again": [f"x\r{text}" for text in TEXTS], "n": range(len(TEXTS))})
    helpers.write_csv(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[2] for row in rows] == ["n", *map(str, range(len(TEXTS)))]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
