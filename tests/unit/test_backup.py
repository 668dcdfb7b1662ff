"""What cannot be made again goes to an archive, and comes back on a machine that has nothing."""

import hashlib
import io
import json
import random
import tarfile

import pandas as pd
import pytest
import yaml
from incident_tables import DAY, a_night, incident, write_incidents, write_run

from nightshift import backup
from nightshift.backup import read_backup, restore_backup, write_archive, write_backup
from nightshift.incidents.archive import read_nights
from nightshift.incidents.silences import SILENCES_FILE, read_recorded
from nightshift.missed import nights_due
from nightshift.remediation.feedback import FEEDBACK_FILE, read_feedback, record_feedback
from nightshift.reporting.archive import kept
from nightshift.reporting.archive import read_nights as read_runs
from nightshift.serve.replies import say_silence

BEFORE = "2026-01-30"


@pytest.fixture
def site(tmp_path):
    """(configuration, products) of two nights, with feedback on an incident, a silence and a mail that was sent."""
    root = tmp_path / "site"
    outage = a_night()[0]["incident"]
    for day in (BEFORE, DAY):
        write_incidents(root, a_night() if day == DAY else [incident("slow storage", day=day)], day)
        write_run(root, day=day)
        findings = root / f"data/incidents/{day}_findings.parquet"
        pd.read_parquet(findings).assign(table="transfers", night=day, kept=False).to_parquet(findings)
        (root / "reports" / day / "run.json").write_text(json.dumps({"day": day, "studies": {}, "digest": {}}))
        (root / "reports" / day / "index.html").write_text("a page")
    (root / "reports" / DAY / "mail.json").write_text('{"recipients": {}}')
    (root / "data/raw/transfers").mkdir(parents=True)
    (root / "data/raw/transfers/part.parquet").write_bytes(b"x" * 1000)
    for worked in (False, True):
        record_feedback(outage, "ask-downtime", worked, by="night shift", products=root, remediations=str(proposals(tmp_path)))
    say_silence(root, {"incident": outage, "as": "silenced", "until": "2026-02-28", "why": "known"}, by="night shift")
    config = tmp_path / "site.yaml"
    config.write_text(yaml.safe_dump({"day": DAY, "products": str(root), "studies": {}}))
    return config, root


def proposals(folder):
    """A file with one proposal for what the incident is."""
    path = folder / "remediations.yaml"
    entry = {"id": "ask-downtime", "kinds": ["global_dip"], "proposal": "Ask the site", "effort": "10 min"}
    path.write_text(yaml.safe_dump([entry]))
    return path


def test_an_empty_machine_knows_all_that_people_said_and_all_names(site, tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "a secret of two words")
    config, root = site
    archive, empty = tmp_path / "kept.tar.gz", tmp_path / "new/products"
    n = write_backup(config, root, archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    lines = restore_backup(archive, empty, tmp_path / "new/site.yaml")
    key = f"the key of pseudonyms is in {empty}/keys.env: add it to the credentials, and remove the file"
    assert lines == [f"{n - 1} files restored below {empty}, the configuration at {tmp_path}/new/site.yaml", key]

    feedback, trouble = read_feedback(empty / FEEDBACK_FILE)
    pd.testing.assert_frame_equal(feedback, read_feedback(root / FEEDBACK_FILE)[0])
    assert (len(feedback), trouble) == (2, "")
    assert read_recorded(empty / SILENCES_FILE, DAY) == read_recorded(root / SILENCES_FILE, DAY)
    nights, notes = read_nights(empty / "data/incidents", "2026-01-01", "2026-02-01")
    assert (sorted(nights), notes) == ([BEFORE, DAY], [])
    assert list(nights[DAY][0].incident) == [one["incident"] for one in a_night()]
    assert (empty / "reports" / DAY / "mail.json").read_text() == '{"recipients": {}}'
    assert (empty / "keys.env").read_text() == "NIGHTSHIFT_KEY='a secret of two words'\n"
    assert (empty / "keys.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new/site.yaml").read_bytes() == config.read_bytes()
    runs, damaged = read_runs(empty / "reports")
    assert ([run["day"] for run in runs], kept(runs), damaged) == ([BEFORE, DAY], [], {}), "their pages are not there"
    assert nights_due(empty / "reports", "2026-02-02", catch_up=7).nights == ["2026-02-01", "2026-02-02"]
    assert not (empty / "data/raw").exists()
    record_feedback(a_night()[0]["incident"], "ask-downtime", False, products=empty, remediations=str(proposals(tmp_path)))
    assert len(read_feedback(empty / FEEDBACK_FILE)[0]) == 3, "feedback goes on"


def test_a_night_that_runs_meanwhile_costs_a_backup_no_more_than_what_it_makes_anew(site, tmp_path, monkeypatch):
    config, root = site
    whole = write_backup(config, root, tmp_path / "whole.tar.gz")
    half_written = root / f"data/incidents/.0123abcd-{DAY}.parquet"
    half_written.write_bytes(b"x")
    table, read = root / f"data/incidents/{DAY}.parquet", backup.content_of

    def content_of(path):
        table.unlink(missing_ok=True)  # as Snakemake does before the digest
        return read(path)

    monkeypatch.setattr(backup, "content_of", content_of)
    assert write_backup(config, root, tmp_path / "kept.tar.gz") == whole - 1
    names = set(read_backup(tmp_path / "whole.tar.gz")) - set(read_backup(tmp_path / "kept.tar.gz"))
    assert names == {f"products/data/incidents/{DAY}.parquet"}
    assert not any("/." in name for name in read_backup(tmp_path / "kept.tar.gz"))


def test_nothing_that_is_there_is_replaced(site, tmp_path):
    config, root = site
    write_backup(config, root, tmp_path / "kept.tar.gz")
    there = tmp_path / "other/feedback/silences.yaml"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    with pytest.raises(ValueError, match=r"silences\.yaml is there and is another one; restore to an empty folder of products"):
        restore_backup(tmp_path / "kept.tar.gz", tmp_path / "other")
    assert [path for path in (tmp_path / "other").rglob("*") if path.is_file()] == [there]
    assert restore_backup(tmp_path / "kept.tar.gz", tmp_path / "empty")
    assert restore_backup(tmp_path / "kept.tar.gz", tmp_path / "empty"), "the same again changes nothing"


def damaged(archive):
    archive.write_bytes(archive.read_bytes()[:-200])


def replaced(archive):
    entries = read_backup(archive)
    with tarfile.open(archive) as tar:
        contents = tar.extractfile(backup.CONTENTS).read()
    with archive.open("wb") as file:
        write_archive(file, {backup.CONTENTS: contents} | entries | {"products/feedback/silences.yaml": b"other"})


def escaping(archive):
    name = "products/../../evil"
    contents = json.dumps({"version": 1, "sha256": {name: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}})
    with archive.open("wb") as file:
        write_archive(file, {backup.CONTENTS: contents.encode(), name: b"test"})


def none(archive):
    archive.write_bytes(b"no archive")


def later(archive):
    with archive.open("wb") as file:
        write_archive(file, {backup.CONTENTS: b'{"version": 2, "sha256": {}}'})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (damaged, "is no backup, or a damaged one"),
        (none, "is no backup, or a damaged one"),
        (replaced, "is damaged: its files are not those that were written"),
        (escaping, "has a file of another place, 'products/../../evil'"),
        (later, "is a backup of version 2, and this reads 1"),
    ],
)
def test_an_archive_that_is_not_as_it_was_written_restores_nothing(site, tmp_path, capsys, change, says):
    config, root = site
    archive = tmp_path / "kept.tar.gz"
    write_backup(config, root, archive)
    change(archive)
    assert backup.restore(archive, str(tmp_path / "empty"), "") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "empty").exists()


def test_a_damaged_part_anywhere_in_an_archive_is_one_line(tmp_path):
    data, archive = random.Random(1).randbytes(200_000), tmp_path / "kept.tar.gz"  # which gzip cannot pack
    contents = {"version": 1, "sha256": {"products/x": hashlib.sha256(data).hexdigest()}}
    with archive.open("wb") as file:
        write_archive(file, {backup.CONTENTS: json.dumps(contents).encode(), "products/x": data})
    whole = archive.read_bytes()
    assert read_backup(archive) == {"products/x": data}
    # where the length of a block and its complement stand
    lengths = [n for n in range(300, len(whole) - 40) if whole[n] ^ whole[n + 2] == whole[n + 1] ^ whole[n + 3] == 255]
    for at in [2, *lengths, *range(300, len(whole) - 40, len(whole) // 20)]:
        archive.write_bytes(whole[:at] + bytes(byte ^ 255 for byte in whole[at : at + 2]) + whole[at + 2 :])
        with pytest.raises(ValueError, match=r"kept\.tar\.gz (is no backup, or a damaged one|is damaged)"):
            read_backup(archive)


def test_a_backup_that_cannot_be_written_leaves_the_last_one(site, tmp_path, monkeypatch, capsys):
    config, _ = site
    archive = tmp_path / "kept.tar.gz"
    assert backup.backup(config, archive) == 0
    printed = capsys.readouterr()
    assert "which only you can read" in printed.out
    assert printed.err == "without the key of pseudonyms: NIGHTSHIFT_KEY is not set here\n"
    before = archive.read_bytes()

    def full(file, entries):
        file.write(b"x")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "write_archive", full)
    assert backup.backup(config, archive) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert archive.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*kept*")] == ["kept.tar.gz"]


def test_what_says_which_feedback_was_the_last_is_read_first(site):
    _, root = site
    names = [path.name for path in backup.files_to_keep(root)]
    assert names.index("feedback.last") < names.index("feedback.csv")
    assert io.BytesIO(backup.content_of(root / "feedback/feedback.csv")).read() == (root / "feedback/feedback.csv").read_bytes()
