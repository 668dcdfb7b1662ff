"""How fast JSON lines of Rucio events become the raw table of the transfers, against an earlier revision.

    python bench/reading.py [REVISION]

Both read the same 200,000 events from a file into Parquet, in turn, three times, each in a process of its own that has read a small file before; the
ratio is that of the best processor times, and the rows must be equal. Then memory at its peak over 2,000,000 events, plain and .gz. By default,
REVISION is the last one that read every event by `json`.
"""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.dataset as ds

BEFORE = "b1ebf2f"
REPOSITORY = Path(__file__).resolve().parents[1]
N, TIMES, SMALL = 200_000, 10, 2_000
READ = """
import json, resource, sys, tempfile, time
from pathlib import Path
import pandas as pd
from nightshift.sources.base import read_source
from nightshift.sources.parts import Extraction
window = pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-03-01", tz="UTC")
settings = {"index": "", "page_rows": 1, "timeout_s": 1, "retry_wait_s": 1}
small, path, folder = sys.argv[1:]
with tempfile.TemporaryDirectory() as first:
    read_source("transfers", small, Extraction(Path(first), window), **settings)
begun = time.process_time()
read_source("transfers", path, Extraction(Path(folder), window), **settings)
print(json.dumps({"s": time.process_time() - begun, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
"""


def events(n, seed=0):
    """Yield `n` events in the envelope of hermes with the fields of Rucio 41.5; every tenth is a failure."""
    rng, first = random.Random(seed), datetime(2026, 1, 31)
    storages = [f"SITE{i:03d}_DATADISK" for i in range(120)]
    for i in range(n):
        end = first + timedelta(seconds=86400 * i / n)
        start = end - timedelta(seconds=rng.randrange(1, 900))
        asked = start - timedelta(seconds=rng.randrange(1, 900), microseconds=rng.randrange(1, 10**6))
        source, destination, size = rng.choice(storages), rng.choice(storages), rng.randrange(1, 10**10)
        request, job = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(128):032x}"
        name = f"EVNT.{rng.randrange(10**8):08d}._{rng.randrange(10**6):06d}.pool.root.1"
        where = f"example:1094/rucio/mc23/{request[:2]}/{request[2:4]}/{name}"
        failed = rng.random() < 0.1
        payload = {
            "activity": "Production Output",
            "request-id": request,
            "duration": (end - start).seconds,
            "checksum-adler": f"{rng.getrandbits(32):08x}",
            "checksum-md5": None,
            "file-size": size,
            "bytes": size,
            "guid": None,
            "previous-request-id": None,
            "protocol": "davs",
            "scope": "mc23",
            "name": name,
            "dataset": None,
            "datasetScope": None,
            "src-type": "DISK",
            "src-rse": source,
            "src-url": f"davs://{source.lower()}.{where}",
            "dst-type": "DISK",
            "dst-rse": destination,
            "dst-url": f"davs://{destination.lower()}.{where}",
            "reason": "TRANSFER ERROR: Copy failed (3rd pull). Last attempt: connection timed out" if failed else "",
            "transfer-endpoint": "https://fts.example:8446",
            "transfer-id": job,
            "transfer-link": f"https://fts.example:8449/fts3/ftsmon/#/job/{job}",
            "created_at": str(asked - timedelta(minutes=1)),
            "submitted_at": str(asked),
            "started_at": f"{start:%Y-%m-%d %H:%M:%S}",
            "transferred_at": f"{end:%Y-%m-%d %H:%M:%S}",
            "tool-id": "rucio-conveyor",
            "account": "prod",
            "datatype": "EVNT",
        }
        kind, announced = "failed" if failed else "done", str(end + timedelta(seconds=30, microseconds=5))
        yield {"event_type": f"transfer-{kind}", "payload": payload, "created_at": announced}


def write_events(path, n):
    """Write `n` events, one JSON object a line."""
    with open(path, "w") as out:
        out.writelines(json.dumps(event) + "\n" for event in events(n))


def read(tree, small, path, folder):
    """Read a file by the code in the folder `tree` in a process of its own: {"s": processor time, "gib": memory}.

    What an earlier reading left in `folder` goes, since days that are there and unchanged are not read again.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, "-c", READ, str(small), str(path), str(folder)]
    done = subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(folder):
    """The raw rows in a folder; JSON in `more` with its names in order."""
    table = ds.dataset(folder).to_table().to_pandas()
    return table.assign(more=[json.dumps(json.loads(text), sort_keys=True) for text in table.more])


def compare(revision, folder):
    """Yield the rows of the table about speed."""
    small, path = folder / "small.jsonl", folder / "events.jsonl"
    write_events(small, SMALL)
    write_events(path, N)
    trees, taken = {"before": folder / "tree", "now": REPOSITORY}, {"before": [], "now": []}
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(trees["before"]), revision], cwd=REPOSITORY, check=True)
    try:
        for _ in range(3):
            for name, tree in trees.items():
                taken[name].append(read(tree, small, path, folder / name)["s"])
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(trees["before"])], cwd=REPOSITORY, check=True)
    assert rows_of(folder / "before").equals(rows_of(folder / "now")), "the rows differ"
    best = {name: min(each) for name, each in taken.items()}
    for name, seconds in best.items():
        yield f"reading {N:,} events, {name}", f"{N / seconds:,.0f} events/s", f"{1e6 * seconds / N:.1f} us an event"
    yield "reading, now against before", f"ratio {best['before'] / best['now']:.1f}", "bar 8"


def memory(folder):
    """Yield the rows of the table about memory."""
    small, path = folder / "small.jsonl", folder / "events.jsonl"
    for name, opened in (("many.jsonl", open), ("many.jsonl.gz", gzip.open)):
        with opened(folder / name, "wb", **({"compresslevel": 1} if opened is gzip.open else {})) as out:
            for _ in range(TIMES):
                with open(path, "rb") as file:
                    shutil.copyfileobj(file, out)
        peak = read(REPOSITORY, small, folder / name, folder / "many")
        yield f"reading {TIMES * N:,} events, {name}", f"{TIMES * N / peak['s']:,.0f} events/s", f"peak {peak['gib']:.2f} GiB (bar 1)"
        (folder / name).unlink()


def main():
    with tempfile.TemporaryDirectory() as folder:
        for rows in (compare(*(sys.argv[1:] or [BEFORE]), Path(folder)), memory(Path(folder))):
            for row in rows:
                print("{:<48} {:>24}   {}".format(*row), flush=True)


if __name__ == "__main__":
    main()
