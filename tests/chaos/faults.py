"""Kinds of fault between nights, within one and after it: what is done to whom, and what the next run must say or do."""

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sklearn
from small_nights import BEFORE, NIGHT, STUDY, remove

CLEAN, SCORES, FINDINGS, ROWS = (f"data/{name}/{STUDY}.parquet" for name in ("clean", "scores", "findings", "rows"))
KNOWN, STATUS = f"data/scores/{STUDY}_incidents.parquet", f"data/raw/{STUDY}/status.json"
FOREST, DETECTOR, METRICS, CALIBRATION = (
    f"models/{STUDY}/{name}" for name in ("forest.skops", "detector.json", "metrics.json", "calibration.parquet")
)
FEEDBACK, SILENCES = "feedback/feedback.csv", "feedback/silences.yaml"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    make : what is done, given the small_nights.Nights. begin : the state to which it is done, "before" the second night or "after" it; the second
    night is then run. at : (step, outcome) of that night at which it is done, none for before it. line : what one line of that run must match;
    "" where it must end well and find what an undisturbed night does. mend : what the line says that one has to do, nothing where the same
    command does. Then the next run must find what an undisturbed night does. how : "" or the runner, such as "unprivileged".
    """

    name: str
    make: Callable
    begin: str = "after"
    at: tuple = ()
    line: str = ""
    mend: Callable = lambda nights: None
    how: str = ""


# ------------------------------------------------------------------------------------------------- what is done


def raw(nights):
    """The raw table of the study, below the products."""
    [path] = (nights.root / f"data/raw/{STUDY}").glob("*.parquet")
    return str(path.relative_to(nights.root))


def at(path, change):
    """A function of Nights that applies `change` to a product; `path` may be a function that finds it."""
    return lambda nights: change(nights.root / (path(nights) if callable(path) else path))


def cut(path):
    """Keep the first half, as a copy does that was interrupted."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rot(path):
    """Flip a bit in the middle, and no time of the file tells of it."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rot_values(path):
    """Flip a bit of the values of a table, which begin behind the four letters of its kind."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[60] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil(path):
    path.write_text('{"cells": 3')


def empty(path):
    path.write_bytes(b"")


def into_folder(path):
    remove(path)
    path.mkdir()


def into_file(path):
    remove(path)
    path.write_text("a file")


def without_values(path):
    """What a crashed file system leaves: the right length, and nothing but zeros."""
    path.write_bytes(bytes(path.stat().st_size))


def of_other_version(path):
    """Let a stored forest be that of another version of scikit-learn, without another time."""
    rewrite_schema(path, lambda schema: schema.replace(sklearn.__version__, "0.24.2"))


def of_foreign_types(path):
    """Let a stored forest consist of something that runs commands."""
    rewrite_schema(path, lambda schema: schema.replace('"IsolationForest"', '"Popen"').replace('"sklearn.ensemble._iforest"', '"subprocess"'))


def rewrite_schema(path, change):
    """Change what a stored model says it consists of, without another time of its file."""
    before = path.stat()
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    schema = content["schema.json"].decode()
    content["schema.json"] = change(schema).encode()
    assert content["schema.json"] != schema.encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def moved_clock(seconds):
    """Shift the times of all products, and those that records name, as a clock leaves them that is corrected afterwards."""

    def shift(nights):
        for path in [nights.source, *nights.root.rglob("*")]:
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                if path.is_relative_to(nights.root / "reports") and path.suffix == ".json":
                    move_record(path, seconds)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + int(seconds * 1e9)))

    return shift


def move_record(path, seconds):
    """Shift when the run of a record began and ended; other JSON stays."""
    run = json.loads(path.read_text())
    if "outcome" in run and run.get("ended"):
        moved = {name: datetime.fromisoformat(run[name]) + timedelta(seconds=seconds) for name in ("started", "ended")}
        path.write_text(json.dumps(run | {name: at.isoformat(timespec="milliseconds") for name, at in moved.items()}))


def edit_feedback(path):
    header, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, *(row.replace(",worked,", ",failed,") for row in rows)]))


def tear_feedback(path):
    with path.open("a") as file:
        file.write('2026-01-31T01:00:00Z,"20260130-')


def cut_source(nights):
    """Cut the last record in half, as a transfer does that was interrupted."""
    nights.source.write_bytes(nights.source.read_bytes()[:-60])


def zeros_in_source(nights):
    """Put a line of zeros between two records, as a file system does after a crash."""
    lines = nights.source.read_bytes().splitlines(keepends=True)
    nights.source.write_bytes(b"".join([*lines[:100], bytes(4096), b"\n", *lines[100:]]))


def rewrite_source(nights):
    """Empty the source, and write it anew, piece by piece, again and again while it is read."""
    content = nights.source.read_bytes()
    size = len(content) // 20 + 1
    for _ in while_extracted(nights):
        with nights.source.open("wb", buffering=0) as file:
            for begin in range(0, len(content), size):
                file.write(content[begin : begin + size])
                time.sleep(0.01)


def while_extracted(nights):
    """Yield until the extraction of the night has ended."""
    while not nights.done.is_set() and nights.has_come_to("1_extract", "running"):
        yield


def append_to_source(nights):
    """Append a record again, as the probe does that sends once more what it has sent."""
    last = nights.source.read_bytes().splitlines(keepends=True)[-1]
    with nights.source.open("ab", buffering=0) as file:
        for _ in while_extracted(nights):
            file.write(last)
            time.sleep(0.02)


def source_back(nights):
    remove(nights.source)
    shutil.copy2(nights.folder / "nothing" / nights.source.name, nights.source)


def back(path, state="before"):
    """A function of Nights that puts a product back from a copy, as from a backup."""

    def put_back(nights):
        remove(nights.root / path)
        kept = nights.folder / state / "products" / path
        (shutil.copytree if kept.is_dir() else shutil.copy2)(kept, nights.root / path)

    return put_back


def gone(path):
    """A function of Nights that removes a product, where the line says so."""
    return at(path, remove)


def mode(path, bits):
    return lambda nights: (nights.root / path if path else nights.source).chmod(bits)


def fill_disk(nights):
    """Take all the room that is left on the small disk, and what is freed while the night runs."""
    system = os.statvfs(nights.root)
    while not nights.done.is_set():
        with (nights.folder / "ballast").open("ab", buffering=0) as file:
            try:
                while file.write(bytes(system.f_frsize)) == system.f_frsize:
                    pass
            except OSError:
                time.sleep(0.05)


def make_room(nights):
    remove(nights.folder / "ballast")


# ------------------------------------------------------------------------------------------------- the table

PRODUCTS = [
    Kind("the clean table is cut", at(CLEAN, cut), line=r"clean/accounting\.parquet is not as .*made again"),
    Kind("the raw table is cut", at(raw, cut), line=r"raw/accounting/.* is not as .*made again"),
    Kind("the status of the raw table is spoilt", at(STATUS, spoil), line=r"status\.json cannot be read, so it is made again"),
    Kind("the scores are gone", at(SCORES, remove)),
    Kind("the findings are cut", at(FINDINGS, cut), line=r"findings/accounting\.parquet is not as .*made again"),
    Kind("the findings are zeros of the same length", at(FINDINGS, without_values), line=r"findings/accounting\.parquet is not as .*made again"),
    Kind("the rows of findings are gone", at(ROWS, remove), line=r"rows/accounting\.parquet is not as .*made again"),
    Kind("the table of known incidents is gone", at(KNOWN, remove), line=r"accounting_incidents\.parquet is not as .*made again"),
    Kind("the scores are a folder", at(SCORES, into_folder), line=r"scores/accounting\.parquet"),
    Kind("the record of a step is spoilt", at(f"reports/{NIGHT}/{STUDY}/4_analyse.json", spoil)),
    Kind("an executed notebook is cut", at(f"reports/{NIGHT}/{STUDY}/2_preprocess.ipynb", cut), line=r"2_preprocess\.ipynb cannot be read"),
    Kind("the record of the digest is gone", at(f"reports/{NIGHT}/digest_run.json", remove)),
    Kind("the incidents of tonight are cut", at(f"data/incidents/{NIGHT}.parquet", cut), line=r"not as the digest left it, so it is made again"),
    Kind("the proposals of tonight are gone", at(f"data/incidents/{NIGHT}_proposals.parquet", remove), line=r"not as the digest left it"),
    Kind("the counts of tonight are spoilt", at(f"data/incidents/{NIGHT}.json", spoil), line=r"not as the digest left it"),
    Kind("digest.json is spoilt", at(f"reports/{NIGHT}/digest.json", spoil)),
    Kind("the front page is empty", at(f"reports/{NIGHT}/index.html", empty)),
    Kind("the feed is spoilt", at("reports/feed.xml", spoil)),
    Kind("the pictures of the pages are gone", at(f"reports/{NIGHT}/pictures", remove)),
    Kind("what is noted of the last run is spoilt", at("data/.unchanged.json", spoil)),
    Kind("what is noted of the site is spoilt", at("data/.published.json", empty)),
    Kind("a dead process is said to hold the lock", at(".lock.holder", lambda path: path.write_text("999999"))),
    Kind("the folder of scores is a file", at("data/scores", into_file), line=r"data/scores", mend=gone("data/scores")),
    Kind(
        "the log of the chain is a folder", at(f"reports/{NIGHT}/chain.log", into_folder), line="chain.log", mend=gone(f"reports/{NIGHT}/chain.log")
    ),
    Kind("the folder of the night is a file", at(f"reports/{NIGHT}", into_file), line=rf"reports/{NIGHT}", mend=gone(f"reports/{NIGHT}")),
]
REPLACED = r"stored model cannot be read \(forest\.skops: ValueError\), so the new one takes its place"
MODELS = [  # that are trained anew, so that scores are others
    Kind("the metrics of the model are empty", at(METRICS, empty), line=r"metrics\.json cannot be read, so it is made again"),
    Kind("the model is cut", at(FOREST, cut), line=r"forest\.skops is not as training left it, so it is made again"),
    Kind("a bit of the model is flipped", at(FOREST, rot), "before", line=r"forest\.skops cannot be read as a model", mend=gone(METRICS)),
    Kind("the model is of another version", at(FOREST, of_other_version), "before", line=REPLACED),
    Kind("the model holds other types", at(FOREST, of_foreign_types), "before", line=REPLACED),
    Kind("the settings of the detector are spoilt", at(DETECTOR, spoil), "before", line=r"detector\.json"),
    Kind("the calibration is gone", at(CALIBRATION, remove), "before", line=r"calibration\.parquet"),
]


def kept_file(name, path, change, line):
    """A kind of damage, before the second night, to a file that no run makes again: it is put back by hand."""
    return Kind(name, at(path, change), "before", line=line, mend=back(path))


TABLE, FINDINGS_THEN, RECORD = f"data/incidents/{BEFORE}.parquet", f"data/incidents/{BEFORE}_findings.parquet", f"reports/{BEFORE}/run.json"
PEOPLE = [
    kept_file("the incidents of last night are cut", TABLE, cut, rf"{BEFORE}\.parquet cannot be read"),
    kept_file("the incidents of last night are gone", TABLE, remove, rf"{BEFORE}\.parquet cannot be read \(it is missing\)"),
    kept_file("all incidents of all nights are gone", "data/incidents", remove, rf"{BEFORE}\.parquet cannot be read \(it is missing\)"),
    kept_file("a bit of them is flipped", TABLE, rot_values, rf"{BEFORE}\.parquet cannot be read"),
    kept_file("their findings are gone", FINDINGS_THEN, remove, rf"{BEFORE}_findings\.parquet cannot be"),
    kept_file("the record of last night is spoilt", RECORD, spoil, rf"{BEFORE}/run\.json"),
    kept_file("somebody changed a row of feedback", FEEDBACK, edit_feedback, r"feedback\.csv line 2 was changed"),
    Kind("the last line of feedback is torn", at(FEEDBACK, tear_feedback), "before"),
    kept_file("the feedback is gone", FEEDBACK, remove, r"feedback\.csv"),
    kept_file("the feedback is a folder", FEEDBACK, into_folder, r"feedback\.csv"),
    kept_file("the silences are cut", SILENCES, cut, r"silences\.yaml"),
    kept_file("the silences are zeros", SILENCES, without_values, r"silences\.yaml"),
]
SOURCES = [
    Kind("the source is gone", lambda nights: remove(nights.source), "before", line="no file matches|is not there|no such file", mend=source_back),
    Kind("the source is empty", lambda nights: empty(nights.source), "before", line="accounting", mend=source_back),
    Kind("the source ends in half a record", cut_source, "before", line="1 line|1 record|one line|put aside|No warning", mend=source_back),
    Kind("the source holds zeros", zeros_in_source, "before", line="1 line|1 record|one line|put aside", mend=source_back),
    Kind("the source is written anew while it is read", rewrite_source, "before", ("1_extract", "running"), "accounting", source_back),
    Kind("the source grows while it is read", append_to_source, "before", ("1_extract", "running"), mend=source_back),
    Kind("the source is a folder", lambda nights: into_folder(nights.source), "before", line="accounting", mend=source_back),
]
WITHIN = [
    Kind(
        "a bit of the raw table is flipped before it is read",
        at(raw, rot_values),
        "before",
        ("1_extract", "ok"),
        line="damaged: a part",
        mend=gone(raw),
    ),
    Kind(
        "a bit of the clean table is flipped before it is read",
        at(CLEAN, rot_values),
        "before",
        ("2_preprocess", "ok"),
        line="damaged: a part",
        mend=gone(CLEAN),
    ),
    Kind("the findings are cut before the digest", at(FINDINGS, cut), "before", ("4_analyse", "ok"), line=r"findings|accounting\.parquet"),
    Kind("the scores are gone before the digest", at(SCORES, remove), "before", ("4_analyse", "ok"), line=r"scores"),
    Kind(
        "the incidents are cut before they are published",
        at(f"data/incidents/{NIGHT}.parquet", cut),
        "before",
        ("digest", "ok"),
        line=rf"{NIGHT}\.parquet",
    ),
]
SURROUNDINGS = [
    Kind("the clock was a day ahead", moved_clock(86_400)),
    Kind("the clock was a day ahead last night", moved_clock(86_400), "before"),
    Kind("the clock was a day behind", moved_clock(-86_400)),
    Kind("the clock was a day behind last night", moved_clock(-86_400), "before"),
    Kind("products may not be written", mode("data", 0o500), "before", line="data", mend=mode("data", 0o700), how="unprivileged"),
    Kind(
        "incidents may not be written",
        mode("data/incidents", 0o500),
        "before",
        line="incidents",
        mend=mode("data/incidents", 0o700),
        how="unprivileged",
    ),
    Kind("pages may not be written", mode("reports", 0o500), "before", line="reports", mend=mode("reports", 0o755), how="unprivileged"),
    Kind("the model may not be read", mode(FOREST, 0), "before", line=r"forest\.skops", mend=mode(FOREST, 0o644), how="unprivileged"),
    Kind("the source may not be read", mode("", 0), "before", line=r"gracc\.jsonl|Permission", mend=mode("", 0o644), how="unprivileged"),
    Kind(
        "feedback may not be read", mode(FEEDBACK, 0), "before", line=r"feedback\.csv cannot be read", mend=mode(FEEDBACK, 0o644), how="unprivileged"
    ),
    *[Kind(f"the disk is full in {step}", fill_disk, "before", (step, "running"), "No space left", make_room) for step in ("4_analyse", "digest")],
]
KINDS = [*PRODUCTS, *MODELS, *PEOPLE, *SOURCES, *WITHIN, *SURROUNDINGS]
