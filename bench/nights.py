"""What a second night of transfers costs beside the first: `python bench/nights.py [TRANSFERS A DAY] [DAYS]`, 20,000 and 49 unless stated.

Events are written as Rucio's hermes does, a file of JSON lines per day, each transfer announced when it is queued and when it has ended. The first
night extracts and preprocesses a window of all days, the second one the same window a day later. Each step runs by papermill in a process of its
own, of which seconds of processors and the largest memory are counted; papermill, imports and the compiler of numba are part of both.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from steps import run

FIRST = pd.Timestamp("2026-01-01")
STORAGES = np.array([f"SITE{i:03d}_DATADISK" for i in range(300)])


def write_day(path, day, n, rng):
    """Write the events that `n` transfers of a day announce, by their time."""
    submitted = np.sort(rng.integers(0, 86_000, n))
    started = submitted + rng.geometric(1 / 400, n)
    ended = started + rng.geometric(1 / 300, n)
    begin = FIRST + pd.Timedelta(days=day)
    times = {"q": submitted, "s": started, "f": ended}
    text = {name: pd.Series(begin + pd.to_timedelta(at, unit="s")).astype(str).to_numpy() for name, at in times.items()}
    src, dst = (STORAGES[np.minimum(rng.geometric(0.02, n), 300) - 1] for _ in range(2))
    sizes, lines = rng.integers(1, 10**10, n), []
    for i in range(n):
        payload = {"request-id": f"{day:08x}{i:024x}", "activity": "Production Output", "src-rse": src[i], "src-type": "DISK", "dst-rse": dst[i]}
        payload |= {
            "protocol": "davs",
            "transfer-endpoint": "https://fts.example:8446",
            "src-url": "davs://a.example/x",
            "dst-url": "davs://b.example/x",
        }
        payload |= {"bytes": int(sizes[i]), "submitted_at": text["q"][i], "started_at": None, "transferred_at": None, "reason": None}
        lines.append((submitted[i], {"event_type": "transfer-queued", "created_at": text["q"][i], "payload": payload}))
        payload = payload | {"started_at": text["s"][i], "transferred_at": text["f"][i]}
        lines.append((ended[i], {"event_type": "transfer-done", "created_at": text["f"][i], "payload": payload}))
    with open(path, "w") as file:
        file.writelines(json.dumps(event) + "\n" for _, event in sorted(lines, key=lambda line: line[0]))


def night(folder, day, days):
    """Extract and preprocess the window that ends with `day`: {step: (seconds of processors, GiB)}."""
    asked = {"source": str(folder / "events/*.jsonl"), "day": str((FIRST + pd.Timedelta(days=day)).date()), "days": days}
    cost = {"1_extract": run("transfers/1_extract", folder, **asked)}
    return cost | {"2_preprocess": run("transfers/2_preprocess", folder, day=asked["day"])}


def main():
    n, days = map(int, [*sys.argv[1:], *("20000", "49")[len(sys.argv) - 1 :]])
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "events").mkdir()
        begun = time.perf_counter()
        for day in range(days):
            write_day(folder / f"events/{day:03d}.jsonl", day, n, rng)
        print(f"{n:,} transfers a day, {days} days, written in {time.perf_counter() - begun:.0f} s", flush=True)
        first = night(folder, days - 1, days)
        write_day(folder / f"events/{days:03d}.jsonl", days, n, rng)
        os.sync()
        second = night(folder, days, days)
        for step in first:
            (s1, m1), (s2, m2) = first[step], second[step]
            nights = f"first night {s1:7.1f} s {m1:5.2f} GiB, second {s2:6.1f} s {m2:5.2f} GiB"
            print(f"{step:<14} {nights}; 1/{s1 / s2:.1f} of the time, {m2 / m1:.2f} of the memory")
        s1, s2 = sum(one[0] for one in first.values()), sum(one[0] for one in second.values())
        m1, m2 = max(one[1] for one in first.values()), max(one[1] for one in second.values())
        print(f"both           1/{s1 / s2:.1f} of the time (bar 1/15), {m2 / m1:.2f} of the memory (bar 0.25)")


if __name__ == "__main__":
    main()
