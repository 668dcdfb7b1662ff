"""`nightshift check`: what it says of small sources of every study, and of all that can be wrong with one."""

import gzip
import json
import re
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import GRACC_RECORD, REPOSITORY
from docs_examples import examples, settings

from nightshift import night
from nightshift.sources import excerpts
from nightshift.sources.looks import look_at_source

DAY = "2026-01-31"


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys):
    """Check one study with `extract` as its parameters: (exit code, lines)."""
    monkeypatch.chdir(REPOSITORY)

    def check(study, *, quiet=False, **extract):
        config = {"day": DAY, "products": str(tmp_path / "products"), "studies": {study: {"extract": extract}}}
        (tmp_path / "site.yaml").write_text(yaml.safe_dump(config))
        before = sorted(tmp_path.rglob("*"))
        code = night.check(tmp_path / "site.yaml", "", quiet)
        assert sorted(tmp_path.rglob("*")) == before, "nothing is written"
        return code, capsys.readouterr().out.splitlines()

    return check


def gracc(days, **changes):
    """Records of GRACC, one each day, as JSON lines."""
    times = pd.date_range(end=DAY, periods=days, tz="UTC")
    return "".join(json.dumps(GRACC_RECORD | {"EndTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"} | changes) + "\n" for at in times)


@pytest.mark.parametrize("study", ["transfers", "accounting", "telemetry", "certification", "tickets"])
def test_the_examples_of_the_documentation_are_recognised(study, tmp_path, checked):
    examples(tmp_path / "data")
    labels = {"transfers": "events of Rucio", "accounting": ("sacct", "summary or individual job messages"), "telemetry": "a table of nodes"}
    labels |= {"certification": "a table of lumisections", "tickets": "a table of tickets"}
    configs = [config for text in settings(tmp_path / "data") if study in (config := yaml.safe_load(text))["studies"]]
    assert configs
    for config in configs:
        code, lines = checked(study, **config["studies"][study]["extract"] | ({"accounts": ""} if study == "tickets" else {}))
        assert any(line.strip().startswith(labels[study]) and "2 rows looked at of 2" in line for line in lines), lines
        assert not any("Traceback" in line or "cannot be read" in line for line in lines)
        assert code in (night.WELL, night.FAILED), "two rows are too few for most"


def test_a_source_with_enough_history_is_well_and_says_what_a_missing_column_costs(tmp_path, checked):
    (tmp_path / "a.jsonl").write_text(gracc(100, CpuDuration=None))
    code, lines = checked("accounting", source=str(tmp_path / "a.jsonl"))
    assert code == night.WELL, lines
    assert "  from 2025-10-24 to 2026-01-31, 99 days up to the night; at least 77 are needed (train.report_weeks is 3, train.min_age is 8)" in lines
    assert "  no CpuDuration: a drop of efficiency is not seen" in lines
    assert checked("accounting", source=str(tmp_path / "a.jsonl"), quiet=True) == (night.WELL, [])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", gracc(20), "its history is 19 days, and at least 77 are needed (train.report_weeks is 3, train.min_age is 8): name older files"),
        ("a.jsonl", gracc(100, SiteName=None).replace('"SiteName": null, ', ""), "a.jsonl: it has no SiteName; it has EndTime, "),
        ("a.jsonl", gracc(100).replace("2025-", "2024-").replace("2026-", "2025-"), "its newest row is of 2025-01-31 00:00 UTC, long before the end"),
        ("a.jsonl", gracc(2).replace("2026-01", "2027-01"), "its oldest row is of 2027-01-30, after the night: check day"),
        ("a.csv", "EndTime,SiteName,VOName,CoreHours\n", "there is no row in it: export it again"),
        ("a.jsonl", "", "every file is empty: export the source again"),
        ("a.txt", "Dear reader,\nhello.\n", "it begins with 'Dear reader,' and is neither GRACC records"),
        ("a.jsonl.gz", "no archive", "a.jsonl.gz cannot be read: BadGzipFile"),
    ],
)
def test_a_bad_source_is_one_line_that_says_what_to_do(tmp_path, checked, name, content, problem):
    (tmp_path / name).write_text(content)
    code, [line] = checked("accounting", source=str(tmp_path / name), quiet=True)
    assert code == night.FAILED
    assert line.startswith("accounting: ")
    assert problem in line


@pytest.mark.parametrize("study", ["accounting", "transfers", "telemetry", "certification", "tickets"])
@pytest.mark.parametrize("separator", [",", "|"])
def test_no_study_says_what_the_first_row_of_a_table_without_names_holds(tmp_path, checked, study, separator):
    rows = [["Kora Lumbe", "kora.lumbe", "2026-01-31 10:00", "17", "ok"], ["Milo Zud", "milo.zud", "2026-01-31 11:00", "18", "ok"]]
    (tmp_path / "people.csv").write_text("".join(separator.join(row) + "\n" for row in rows))
    code, lines = checked(study, source=str(tmp_path / "people.csv"))
    assert code == night.FAILED, lines
    assert not re.search("(?i)kora|lumbe|milo|zud", "\n".join(lines)), lines


def test_a_folder_no_file_and_no_sample_are_said(tmp_path, checked):
    (tmp_path / "data").mkdir()
    code, [line] = checked("transfers", source=str(tmp_path / "data"), quiet=True)
    assert (code, line) == (night.FAILED, f"transfers: {tmp_path}/data is a folder: name its files, such as {tmp_path}/data/*")
    assert "no file matches" in checked("transfers", source=str(tmp_path / "*.x"), quiet=True)[1][0]
    code, lines = checked("transfers", source="sample")
    assert (code, lines[0]) == (night.WELL, "transfers: well")
    assert "a run makes it" in lines[1]


@pytest.mark.parametrize(
    ("study", "url", "words"),
    [
        ("accounting", "http://127.0.0.1:9", "127.0.0.1:9 does not answer"),
        ("transfers", "http://127.0.0.1:9", "127.0.0.1:9 does not answer"),
        ("telemetry", "http://127.0.0.1:9", "127.0.0.1:9 does not answer"),
        ("tickets", "mysql://127.0.0.1:9/osticket", "127.0.0.1:9 cannot be reached: check host and port"),
        ("certification", "https://127.0.0.1:9", "is no source of certification"),
    ],
)
def test_a_server_that_does_not_answer_is_asked_once(study, url, words, checked, monkeypatch):
    monkeypatch.setenv("OSTICKET_USER", "reader")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    accounts = {"accounts": ""} if study == "tickets" else {}
    code, [line] = checked(study, source=url, quiet=True, **accounts)
    assert code == night.FAILED
    assert words in line


def test_missing_credentials_and_a_missing_client_say_what_to_set(checked, monkeypatch, tmp_path):
    monkeypatch.delenv("OSTICKET_USER", raising=False)
    monkeypatch.delenv("OSTICKET_OPTION_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no login: set OSTICKET_USER" in checked("tickets", source="mysql://127.0.0.1:9/osticket", accounts="", quiet=True)[1][0]
    assert "there is no sacct on this machine" in checked("accounting", source="sacct", quiet=True)[1][0]


def test_other_sources_of_a_study_are_looked_at_too(checked, monkeypatch, tmp_path):
    table = pd.DataFrame({"ticket_id": range(300), "subject": "x", "created": pd.date_range(end=DAY, periods=300).astype(str)})
    table.to_csv(tmp_path / "tickets.csv", index=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, [line] = checked("tickets", source=str(tmp_path / "tickets.csv"), accounts="sacctmgr", quiet=True)
    assert (code, line.startswith("tickets: there is no sacctmgr on this machine")) == (night.FAILED, True)
    assert checked("tickets", source=str(tmp_path / "tickets.csv"), accounts="", quiet=True) == (night.WELL, [])


def test_a_wrong_configuration_ends_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "site.yaml").write_text("day: 2026-01-31\nstudies: {acounting: {}}\n")
    assert night.check(tmp_path / "site.yaml", "") == night.WRONG
    assert "unknown study 'acounting'" in capsys.readouterr().err


def test_this_machine_is_not_measured(checked):
    code, lines = checked("telemetry", source="this_machine")
    assert code == night.WELL
    assert "this machine, which measures itself" in lines[1]


def test_a_database_is_asked_for_its_number_and_ends(tmp_path):
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("CREATE TABLE other (x)")
    values = {"day": DAY, "table_prefix": "ost_", "page_rows": 10}
    [(_, look)] = look_at_source("tickets", str(tmp_path / "x.sqlite"), values)
    assert look.problems[0].endswith("it has no table ost_ticket_priority: is it an osTicket, and does table_prefix (ost_) fit?")


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_long_file_the_first_and_the_last_rows_are_read(tmp_path, packed, monkeypatch):
    lines = gracc(10_000)
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    path.write_bytes(gzip.compress(lines.encode()) if packed else lines.encode())
    monkeypatch.setattr(excerpts, "SMALL", 2**18)
    folder = tmp_path / "folder"
    folder.mkdir()
    kept, has_end = excerpts.excerpt_of_records(str(path), folder)
    assert has_end
    rows = Path(kept).read_text().splitlines(keepends=True)
    assert rows == lines.splitlines(keepends=True)[:1000] + lines.splitlines(keepends=True)[-1000 if packed else -len(rows) + 1000 :]
    assert len(rows) > 1000 + 500
    monkeypatch.setattr(excerpts, "both_ends", lambda values: (list(values)[:1000], False))
    [(_, look)] = look_at_source("accounting", str(path), {})
    assert (look.newest is None) == packed
    assert any("was not reached in time" in note for note in look.notes) == packed


def test_an_excerpt_of_an_array_of_prose_and_of_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    monkeypatch.setattr(excerpts, "ROWS", 3)
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "a.json").write_text(json.dumps([{"x": i} for i in range(10)]))
    kept, _ = excerpts.excerpt_of_records(str(tmp_path / "a.json"), folder)
    assert [json.loads(line)["x"] for line in Path(kept).read_text().splitlines()] == [0, 1, 2, 7, 8, 9]
    (tmp_path / "a.csv").write_text('subject\n"one"\n"two\nlines\nhere"\nfour\n')
    assert Path(excerpts.excerpt_of_prose(str(tmp_path / "a.csv"), folder)[0]).read_text() == 'subject\n"one"\n"two\nlines\nhere"\n'
    pd.DataFrame({"x": range(10)}).to_parquet(tmp_path / "a.parquet", row_group_size=4)
    assert pd.read_parquet(excerpts.excerpt_of_parquet(str(tmp_path / "a.parquet"), folder)[0]).x.tolist() == [0, 1, 2, 8, 9]


NODES = {"day": DAY, "columns": {}, "sampler": "", "node_label": "instance", "job_label": ""}
BESIDE = {  # path, lines, what lies beside
    "a folder of a host": ("host=g1/smi.csv.gz", ["timestamp, index, utilization.gpu [%]", "2026/01/31 10:00:00.0, 0, 5 %"], {}),
    "a folder of an exporter": ("instance=n1/a.txt", ["# HELP load1 x", "load1 2 1769853600000"], {}),
    "a folder of PCP": ("host=n1/a.csv", ['Time,"kernel.all.load-1 minute"', "2026-01-31 10:00:00,1"], {}),
    "folders of collectd": ("n1/load/load-2026-01-31", ["epoch,value", "1769853600,1"], {}),
    "a header": ("meminfo.200", ["1769853600.0,0,n1,7"], {"meminfo.HEADER.100": "#Time,Time_usec,ProducerName,MemFree"}),
    "a packed header": ("meminfo.200.gz", ["1769853600.0,0,n1,7"], {"meminfo.HEADER.100.gz": "#Time,Time_usec,ProducerName,MemFree"}),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_folders_and_files_beside_say_is_known_at_a_look(tmp_path, monkeypatch, case):
    monkeypatch.setattr(excerpts, "SMALL", 0)  # an excerpt is taken of any file
    name, lines, beside = BESIDE[case]
    for file, text in {name: "\n".join(lines), **beside}.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(gzip.compress(f"{text}\n".encode()) if file.endswith(".gz") else f"{text}\n".encode())
    [(_, look)] = look_at_source("telemetry", str(tmp_path / name), NODES)
    assert (look.problems, look.rows, look.bad) == ([], 1, 0)
    assert look.newest == pd.Timestamp("2026-01-31 10:00", tz="UTC")


def test_a_long_table_below_folders_of_its_columns_is_known_at_a_look(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    (tmp_path / "node_id=n1").mkdir()
    pd.DataFrame({"timestamp": [1769853600.0], "load": [1.0]}).to_parquet(tmp_path / "node_id=n1/a.parquet")
    [(_, look)] = look_at_source("telemetry", str(tmp_path / "node_id=n1/a.parquet"), NODES)
    assert (look.problems, look.rows, look.filled) == ([], 1, {"node_id", "load"})


def test_the_last_rows_of_a_table_of_sysstat_are_those_of_its_last_header(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    monkeypatch.setattr(excerpts, "ROWS", 3)
    row = "n1;10;2026-01-31 {}:00:00 UTC;{}"
    text = ["# hostname;interval;timestamp;CPU;%user", *(row.format(f"{n:02}", f"-1;{n}") for n in range(10))]
    text += ["# hostname;interval;timestamp;kbmemfree", *(row.format(f"{n:02}", n) for n in range(10))]
    (tmp_path / "sar.csv").write_text("\n".join(text) + "\n")
    [(_, look)] = look_at_source("telemetry", str(tmp_path / "sar.csv"), NODES)
    assert (look.problems, look.bad, look.filled) == ([], 0, {"node_id", "%user::sar", "kbmemfree::sar"})
    assert (look.oldest, look.newest) == (pd.Timestamp("2026-01-31", tz="UTC"), pd.Timestamp("2026-01-31 09:00", tz="UTC"))


def test_a_long_data_file_of_sysstat_is_named_at_a_look(tmp_path, monkeypatch):
    monkeypatch.setattr(excerpts, "SMALL", 0)
    (tmp_path / "sa31").write_bytes(b"\x96\xd5\x75\x21" + bytes(range(256)))
    [(_, look)] = look_at_source("telemetry", str(tmp_path / "sa31"), NODES)
    assert [line.partition("sa31: ")[2][:31] for line in look.problems] == ["it is a data file of sysstat, w"]


def test_an_error_in_the_code_of_a_source_is_a_line_too(checked, monkeypatch):
    monkeypatch.setattr("nightshift.check.look_at_source", lambda *_: [].nothing)
    code, [line] = checked("transfers", source="x", quiet=True)
    assert code == night.FAILED
    assert "AttributeError: 'list' object has no attribute 'nothing' (line" in line
