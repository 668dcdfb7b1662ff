"""The registry of sources: which kind an address or a file is, by what is in the folders of the studies and nowhere else."""

import ast
import gzip
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import make_dataclass
from pathlib import Path

import pandas as pd
import pytest
from conftest import GRACC_RECORD, REPOSITORY

from nightshift import catalog
from nightshift.sources import base
from nightshift.sources.addresses import is_server, live_words
from nightshift.sources.base import FileSource, Head, LiveSource, live_source, made, place_of, source_of, sources_of
from nightshift.sources.files import LayoutError

STUDIES = list(catalog.studies())
SETTINGS = {  # of 1_extract, as far as kinds of files take them
    "columns": {},
    "dataset": "wide",
    "root_pattern": "",
    "node_label": "",
    "job_label": "",
}
SACCT = "JobID|Cluster|Account|State|Submit|Start|End|ElapsedRaw|CPUTimeRAW|TotalCPU|AllocCPUS\n"
FILES = [  # study, name, beginning, class of the kind
    ("accounting", "a.jsonl", json.dumps(GRACC_RECORD), "GraccFiles"),
    ("accounting", "a.txt", "EndTime,SiteName,VOName,CoreHours\n", "GraccFiles"),
    ("accounting", "a.txt", SACCT, "SavedSacct"),
    ("accounting", "a.json", SACCT, "SavedSacct"),
    ("accounting", "LOG-1.swf", "1 0 60\n", "SwfLogs"),
    ("accounting", "a.txt", "; UnixStartTime: 0\n", "SwfLogs"),
    ("accounting", "a.txt", "", "GraccFiles"),
    ("transfers", "a.txt", "anything", "RucioFiles"),
    ("telemetry", "meminfo.csv", "#Time,Time_usec,ProducerName,MemFree\n", "LdmsStore"),
    ("telemetry", "meminfo.HEADER.1", "#Time,Time_usec,ProducerName,MemFree\n", "LdmsBeside"),
    ("telemetry", "a.csv", "timestamp,Hostname,gpu,DCGM_FI_DEV_GPU_UTIL\n", "GpuTable"),
    ("telemetry", "a.csv", "job_id,node_id,anomaly\n", "LabelTable"),
    ("telemetry", "a.csv", "timestamp,node_id,job_id,anomaly,load\n", "NodeTable"),
    ("certification", "a.json", '\n [{"run": 1}]', "JsonFile"),
    ("certification", "a.csv", "#Data tag : v1\n#run:fill,ls,time,beamstatus\n", "Brilcalc"),
    ("certification", "a.csv", "run,lumisection\n", "CsvTable"),
    ("certification", "A.ROOT", "root", "RootFile"),
    ("certification", "a.pq", "PAR1", "ParquetFile"),
    ("tickets", "a.db", "SQLite format 3\0", "OsticketFile"),
    ("tickets", "a.txt", '{"subject": "x"}', "JsonTickets"),
    ("tickets", "a.csv", "subject,created\n", "CsvTickets"),
    ("tickets", "a.parquet", "PAR1", "ParquetTickets"),
]
ADDRESSES = [
    ("accounting", "sacct", "Sacct"),
    ("accounting", "https://host:9200", "GraccServer"),
    ("accounting", "HTTPS://host:9200", "GraccServer"),
    ("transfers", "http://host:9200", "RucioServer"),
    ("telemetry", "this_machine", "ThisMachine"),
    ("telemetry", "http://host:9090", "Prometheus"),
    ("tickets", "mysql://host/osticket", "OsticketServer"),
    ("tickets", "mariadb://host/osticket", "OsticketServer"),
]


def all_settings(study):
    """All parameters of 1_extract of a study, as the notebook declares them."""
    from nightshift.parameters import declared_at

    return {name: one.default for name, one in declared_at(REPOSITORY / f"notebooks/{study}/1_extract.ipynb").items()}


def imported_by(code):
    """Names of all modules that a new process has imported after running `code`, which names the module that it needs first."""
    module = re.search(r"nightshift[.a-z]*(?=\.)", code)[0]
    code = f"import sys, {module}; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(("study", "name", "begins", "kind"), FILES)
def test_a_file_is_of_the_kind_that_its_beginning_shows(study, name, begins, kind, tmp_path):
    (tmp_path / name).write_text(begins)
    assert type(source_of(base.file_sources(study, SETTINGS), tmp_path / name)).__name__ == kind


@pytest.mark.parametrize(("study", "address", "kind"), ADDRESSES)
def test_an_address_is_of_the_kind_that_it_names(study, address, kind):
    assert type(live_source(study, address, settings=all_settings(study))).__name__ == kind
    assert is_server(address)


def test_where_the_user_names_the_columns_every_table_is_one_of_nodes(tmp_path):
    (tmp_path / "meminfo.csv").write_text("#Time,ProducerName,MemFree\n")
    sources = base.file_sources("telemetry", SETTINGS | {"columns": {"timestamp": "#Time"}})
    assert type(source_of(sources, tmp_path / "meminfo.csv")).__name__ == "NodeTable"


def test_a_file_and_an_address_of_no_kind_are_one_line_that_names_all_kinds(tmp_path):
    (tmp_path / "x.txt").write_text("Dear reader,\nnothing.\n")
    with pytest.raises(LayoutError, match=r"it begins with 'Dear reader,' and is neither GRACC .*, nor sacct .*, nor a \.swf log"):
        source_of(base.file_sources("accounting", {}), tmp_path / "x.txt")
    with pytest.raises(ValueError, match=r"ftp://\.\.\. is no source of accounting: what can be asked is .*GRACC .*https://.*; sacct"):
        live_source("accounting", "ftp://user:secret@host", settings={})
    with pytest.raises(ValueError, match="is no source of certification: what can be asked is files only"):
        live_source("certification", "https://host", settings={})
    assert live_source("accounting", "data/a.csv", settings={}) is None


def test_words_of_live_sources_are_read_without_importing_them():
    words = {address for study in STUDIES for kind in sources_of(study) if issubclass(kind, LiveSource) for address in kind.addresses}
    assert live_words() == {word for word in words if "://" not in word} == {"sacct", "sacctmgr", "this_machine"}
    assert not is_server("sacct.txt")
    assert not is_server("sample")
    assert imported_by("nightshift.config.is_server('sacct')") & {"pandas", "pyarrow", "uproot", "mysql", "elasticsearch"} == set()


def test_kinds_of_source_import_no_heavy_library():
    modules = imported_by(f"[nightshift.sources.base.sources_of(study) for study in {STUDIES}]")
    assert "pandas" in modules
    assert modules & {"uproot", "elasticsearch"} == set()


@pytest.mark.parametrize("study", STUDIES)
def test_each_kind_keeps_the_contract(study):
    kinds = sources_of(study)
    assert len({kind.label for kind in kinds}) == len(kinds) > 0
    files = [kind for kind in kinds if issubclass(kind, FileSource)]
    assert [kind.asked_last for kind in files] == [*[False] * (len(files) - 1), True], "exactly one takes what no other recognises, and stands last"
    settings = all_settings(study)
    for kind in kinds:
        one = made(kind, settings)  # takes parameters of 1_extract alone
        assert kind.parameter in settings
        assert callable(one.look)
        assert issubclass(kind, FileSource) != bool(getattr(kind, "addresses", ()))


def test_the_registry_is_the_folder():
    """No list of kinds: neither the notebooks nor what all studies share names a class of a kind."""
    names = {kind.__name__ for study in STUDIES for kind in sources_of(study)}
    shared = [*REPOSITORY.glob("nightshift/sources/*.py"), *REPOSITORY.glob("nightshift/*.py"), *REPOSITORY.glob("notebooks/*/1_extract.ipynb")]
    for path in shared:
        cells = json.loads(path.read_text())["cells"] if path.suffix == ".ipynb" else [{"cell_type": "code", "source": path.read_text()}]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        assert not names & used, path


def test_the_sample_is_where_the_study_says(tmp_path):
    assert place_of("accounting", "a.csv", tmp_path) == "a.csv"
    with pytest.raises(FileNotFoundError, match=r"there is no sample in .*accounting\.jsonl\.gz: run notebooks/simulate\.ipynb first"):
        place_of("accounting", "sample", tmp_path)
    (tmp_path / "telemetry").mkdir()
    (tmp_path / "telemetry/meminfo.csv.gz").write_bytes(b"")
    assert place_of("telemetry", "sample", tmp_path) == str(tmp_path / "telemetry/*.csv.gz")


def test_a_head_of_a_file_is_bounded_and_without_its_mark(tmp_path):
    (tmp_path / "x.CSV.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf\n\n a,b \n" + b"1,2\n" * 10**6))
    head = Head(tmp_path / "x.CSV.gz")
    assert (head.suffix, head.line, head.names, len(head.lines)) == (".csv", "a,b", ["a", "b"], 30)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    assert Head(tmp_path / "x.parquet").names == ["x"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "packed.csv.gz"])
@pytest.mark.parametrize("study", STUDIES)
def test_a_file_that_holds_nothing_goes_to_the_kind_that_is_asked_last_packed_or_not(study, name, tmp_path):
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.startswith("packed") else b"")
    sources = base.file_sources(study, SETTINGS)
    assert source_of(sources, tmp_path / name) is sources[-1]
    (tmp_path / "meminfo.HEADER").write_text("#Time,Time_usec,ProducerName,MemFree\n")
    (tmp_path / "meminfo.gz").write_bytes(gzip.compress(b""))
    assert source_of(sources, tmp_path / "meminfo.gz") is sources[-1], "a header beside makes it no store"


def test_a_kind_with_a_field_that_is_no_parameter_is_named():
    kind = make_dataclass("Toy", [("colour", str)], bases=(FileSource,))
    with pytest.raises(ValueError, match="Toy has colour, which 1_extract does not declare"):
        made(kind, {"source": "x"})


def written_anew(path):
    path.write_text("a")
    path.write_text("a whole file")


def appended(path):
    with path.open("a") as file:
        file.write(" and a line")


def replaced(path):
    other = path.with_suffix(".new")
    other.write_text("b")
    other.replace(path)


@pytest.mark.parametrize(
    ("text", "meanwhile", "is_database", "is_refused"),
    [
        ("a whole file", written_anew, False, True),
        ("a whole file", written_anew, True, False),
        ("a whole file", lambda path: path.write_text("half"), False, True),
        ("", written_anew, False, True),
        ("a whole file", appended, False, False),
        ("a whole file", replaced, False, False),
        ("a whole file", lambda path: None, False, False),
    ],
)
def test_a_file_that_is_written_anew_while_it_is_read_is_refused(tmp_path, monkeypatch, text, meanwhile, is_database, is_refused):
    """Of two files, the second one is written to: a log grows, a database is written to, and what is replaced by its name is read to its end."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1e9, 1e9))

    def extract(path, read):
        read.append(Path(path).name)
        if path.endswith("b.csv"):
            meanwhile(tmp_path / "b.csv")

    kind, read = FileSource(), []
    kind.asked_last, kind.is_database, kind.extract = True, is_database, extract
    monkeypatch.setattr(base, "file_sources", lambda study, settings: [kind])
    recorded = {}
    monkeypatch.setattr(base, "record", recorded.__setitem__)
    if is_refused:
        with pytest.raises(ValueError, match=r"b\.csv cannot be read: ValueError: it was written anew while it was read: run again"):
            base.read_source("accounting", f"{tmp_path}/*.csv", read)
    else:
        base.read_source("accounting", f"{tmp_path}/*.csv", read)
        assert recorded == {}, "both were written long before"
    assert read == ["a.csv", "b.csv"]


def test_a_file_that_was_written_just_before_it_was_read_is_recorded_as_it_was(tmp_path, monkeypatch):
    for name, at in (("old.csv", 1e9), ("new.csv", time.time() - 5)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (at, at))
    kind, recorded, before = FileSource(), {}, os.stat(tmp_path / "new.csv")
    kind.asked_last, kind.extract = True, lambda path, read: appended(Path(path))
    monkeypatch.setattr(base, "file_sources", lambda study, settings: [kind])
    monkeypatch.setattr(base, "record", recorded.__setitem__)
    base.read_source("accounting", f"{tmp_path}/*.csv", [])
    assert recorded == {"just_written": {f"{tmp_path}/new.csv": [4, before.st_mtime_ns]}}
