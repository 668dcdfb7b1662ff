"""1_extract of the accounting study against a real Slurm with slurmdbd: what sacct says live and what was saved give the same, true table."""

import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import slurm_cluster
from conftest import REPOSITORY, execute, refused, run_here, shown, today
from daemons import wait_until

from nightshift.sources.looks import look_at_source

BURN = "sh -c 'ulimit -c 0; ulimit -t {}; while :; do :; done'"  # for so many seconds of a processor, however long a busy machine takes to give them
# options of sbatch, command; the last three: one runs, is requeued and waits (its first run counts), one will not end, one waits for all processors
# until it is cancelled
JOBS = [
    *[(["--account=atlas", "--ntasks=2"], "sleep 2")] * 2,
    (["--account=cms", "--array=1-3"], "sleep 1"),
    (["--account=icecube", "--ntasks=2"], f"srun --ntasks=1 {BURN.format(2)}; {BURN.format(1)}"),
    (["--account=atlas", "--requeue"], "sleep 1000"),
    (["--account=cms"], "sleep 1000"),
    (["--account=cms", "--ntasks=16"], "sleep 1"),
]


def asked(env, *command):
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


@pytest.fixture(scope="module")
def slurm():
    """The environment of a cluster on which the JOBS have run."""
    if lacking := slurm_cluster.missing():
        pytest.skip(f"no Slurm here: {', '.join(lacking)} missing")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the paths of sockets must be short
    try:
        with slurm_cluster.cluster(folder, ["atlas", "cms", "icecube"]) as env:
            ids = [asked(env, "sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={command}") for options, command in JOBS]
            states = ["sacct", "--allocations", "--duplicates", "--noheader", "--parsable2", "--format=State"]
            assert wait_until(lambda: "RUNNING" in asked(env, *states, f"--jobs={ids[-3]}"), 20)
            asked(env, "sleep", "1")  # a run of no second is none
            asked(env, "scontrol", "requeue", ids[-3])
            assert wait_until(lambda: asked(env, *states, f"--jobs={ids[-3]}").split() == ["REQUEUED", "PENDING"], 20)
            assert wait_until(lambda: "PENDING" in asked(env, *states, f"--jobs={ids[-1]}"), 20)
            asked(env, "scancel", ids[-1])
            assert wait_until(lambda: "CANCELLED" in asked(env, *states, f"--jobs={ids[-1]}"), 20)
            assert wait_until(lambda: len(re.findall("COMPLETED|FAILED", asked(env, *states))) == 6, 30), asked(env, "sacct")
            yield env
    finally:
        shutil.rmtree(folder)


def extract(products, source, run=run_here, **parameters):
    """(raw table by RecordId, what running the notebook gives)"""
    page = run("accounting/1_extract.ipynb", products, source=str(source), day=str(today()), **{"weeks": 2} | parameters)
    parts = sorted((products / "data/raw/accounting").glob("*.parquet"))
    return pd.concat([pd.read_parquet(part) for part in parts]).sort_values("RecordId", ignore_index=True), page


def test_a_look_asks_for_the_runs_of_two_days_and_for_all_users(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    settings = {"day": str(today()), "weeks": 2, "sacct_options": "", "timeout_s": 20.0}
    [(_, seen)] = look_at_source("accounting", "sacct", settings)
    assert (seen.problems, seen.bad) == ([], 0)
    assert seen.rows > 0
    assert str(seen.newest.date()) >= str(today() - timedelta(days=1))


def documented_command():
    """The shell command with which the notebook tells people to save a file, for the days around today."""
    [text] = re.findall(r"TZ=UTC SLURM_TIME_FORMAT.*?>sacct.txt", (REPOSITORY / "notebooks/accounting/1_extract.ipynb").read_text(), re.S)
    lines = text.replace('\\n",', "").replace('"', "").replace("\\\\", "")
    dates = iter([today() - timedelta(days=14), today() + timedelta(days=1)])
    return re.sub(r"\d{4}-\d\d-\d\d", lambda _: str(next(dates)), " ".join(lines.split()))


def test_live_and_saved_sacct_give_the_same_true_table(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    monkeypatch.setenv("TZ", "America/New_York")  # of the person who runs it: no time may move with it
    live, notebook = extract(tmp_path / "live", "sacct", run=execute)  # a process of its own reads TZ
    subprocess.run(["sh", "-c", documented_command()], cwd=tmp_path, env={**slurm, "TZ": "Asia/Tokyo"}, check=True, timeout=20)
    saved, _ = extract(tmp_path / "saved", tmp_path / "sacct.txt", run=execute)
    pd.testing.assert_frame_equal(live, saved)

    assert live.VOName.value_counts().to_dict() == {"cms": 3, "atlas": 3, "icecube": 1}
    assert set(live.SiteName) == {"toy"}
    assert set(live.Njobs) == {"1"}
    assert live.more.str.contains("REQUEUED").groupby(live.VOName).sum().to_dict() == {"atlas": 1, "cms": 0, "icecube": 0}
    assert live.RecordId.is_unique
    assert live.Processors.groupby(live.VOName).max().to_dict() == {"atlas": "2", "cms": "1", "icecube": "2"}
    own = asked(slurm, "sacct", "--allocations", "--duplicates", "--noheader", "--parsable2", "--format=Account,CPUTimeRAW,State")
    runs = [line.split("|") for line in own.splitlines() if re.search("COMPLETED|FAILED|REQUEUED", line)]
    seconds = pd.DataFrame(runs, columns=["vo", "s", "state"])
    hours = seconds.s.astype(int).groupby(seconds.vo).sum() / 3600
    assert live.CoreHours.astype(float).groupby(live.VOName).sum().to_dict() == pytest.approx(hours.to_dict())
    assert hours.min() > 0
    burnt = live[live.VOName == "icecube"].CpuDuration.astype(float).sum()
    assert 1.5 < burnt < 4, "two seconds of the step and one of the script"
    ends = pd.to_datetime(live.EndTime)
    assert ((datetime.now(UTC) - ends) < pd.Timedelta(minutes=5)).all()
    # Slurm lets the requeued job wait two minutes: shortly before midnight it is one of the next day, which sacct does not show yet
    n_waiting = 2 if ends.max() + pd.Timedelta(minutes=5) < pd.Timestamp(ends.max().date() + timedelta(days=1), tz="UTC") else "[12]"
    assert re.search(rf"\b{n_waiting} jobs that have not ended, 1 that never ran", shown(notebook))


def test_a_week_that_is_over_is_not_asked_again(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    extract(tmp_path, "sacct", weeks=3)
    parts = sorted((tmp_path / "data/raw/accounting").glob("*.parquet"))
    before = [part.stat().st_mtime_ns for part in parts]
    extract(tmp_path, "sacct", weeks=3)
    after = [part.stat().st_mtime_ns for part in parts]
    assert len(parts) == 3
    assert after[0] == before[0]
    assert after[2] > before[2]


def test_an_accounting_database_that_is_down_is_one_line(slurm, tmp_path, monkeypatch):
    conf = tmp_path / "slurm.conf"
    conf.write_text(re.sub(r"(AccountingStoragePort)=\d+", r"\1=9", Path(slurm["SLURM_CONF"]).read_text()))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    assert re.match(r"sacct failed \(1\): .*refused", refused(extract, tmp_path, "sacct"))


def test_what_sacct_refuses_is_said_in_its_words(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    assert re.match(r"sacct failed .*unrecognized option '--nonsense'", refused(extract, tmp_path, "sacct", sacct_options="--nonsense"))
    assert not (tmp_path / "data").exists()


def test_users_and_departments_live_and_saved_are_the_same(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    monkeypatch.setenv("PATH", slurm["PATH"])
    for command in ("add user lomi1 account=cms,icecube defaultaccount=cms", "modify account where name=cms set organization=Physics"):
        asked(slurm, "sacctmgr", "-i", *command.split())
    text = (REPOSITORY / "notebooks/tickets/1_extract.ipynb").read_text()
    subprocess.run(
        ["sh", "-ec", "\n".join(re.findall(r"sacctmgr --parsable2 .*?accounts.txt", text))], cwd=tmp_path, env=slurm, check=True, timeout=20
    )
    tickets = tmp_path / "tickets.csv"
    tickets.write_text("ticket_id,subject,address\n1,a,LoMi1@uni.example\n")
    found = []
    for accounts in ("sacctmgr", str(tmp_path / "accounts.txt")):
        page = run_here("tickets/1_extract.ipynb", tmp_path, source=str(tickets), accounts=accounts, schools={"physics": "natural sciences"})
        found.append(pd.read_parquet(tmp_path / "data/raw/tickets/users.parquet"))
        assert "Of 1 names that wrote tickets, 1 have a department" in page
    pd.testing.assert_frame_equal(*found)
    assert found[0].set_index("user").loc["lomi1"].tolist() == ["cms", "physics", "natural sciences"]


def test_an_accounting_database_that_is_down_tells_no_departments_in_one_line(slurm, tmp_path, monkeypatch):
    conf = tmp_path / "slurm.conf"
    conf.write_text(re.sub(r"(AccountingStoragePort)=\d+", r"\1=9", Path(slurm["SLURM_CONF"]).read_text()))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    source = tmp_path / "tickets.csv"
    source.write_text("ticket_id,subject\n1,a\n")
    line = refused(run_here, "tickets/1_extract.ipynb", tmp_path, source=str(source), accounts="sacctmgr")
    assert re.match(r"sacctmgr failed \(1\): .*refused", line)
    assert not (tmp_path / "data/raw/tickets/tickets.parquet").exists()
