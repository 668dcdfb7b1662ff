"""How close the start of a found outage lies to the true one, and whether quiet nights stay quiet: python
bench/outage_start.py [SEEDS]

At the level of the scan's input: flagged and normal transfers of 30 storages at 15 sites over four weeks,
the second half of which is scanned. Files come in rules of about five, storages drift over days, and one
outage of 1 to 14 days (log-uniform) hits a link, a storage or a site: from a third to nearly all of its
transfers are flagged. Its entity has at least 100 transfers a day, in about 20 rules: nobody can date a
trouble more closely than the transfers follow each other.
"""

import sys

import numpy as np
import pandas as pd

from nightshift.detectors.transfers import of_entity
from nightshift.detectors.transfers_scan import ENTITIES, scan_incidents

BEGIN, DAYS, LEAST = pd.Timestamp("2026-01-03", tz="UTC"), 28, 100
COLUMN = {"link": "link", "src": "src", "dst": "dst", "site": "src_site"}


def quiet_transfers(rng, chance, per_day, n):
    """Four weeks of transfers between `n` storages, flagged at random: `chance` on average, more or less on
    each day of a storage."""
    storages = np.array([f"SITE{i // 2:02d}-T2_{'DATA' if i % 2 else 'SCRATCH'}DISK" for i in range(n)])
    share = rng.dirichlet(np.full(n, 1.5))
    rules = rng.poisson(per_day * DAYS / 5)
    hours = np.sort(rng.uniform(0, DAYS * 24, rules))
    hours = hours[rng.random(rules) < 0.75 + 0.25 * np.sin(2 * np.pi * hours / 24)]  # people are awake by day
    src, dst = (rng.choice(n, len(hours), p=share) for _ in range(2))
    size = 1 + rng.poisson(4, len(hours))
    at, src, dst = np.repeat(hours, size), np.repeat(src, size), np.repeat(dst, size)
    at = np.minimum(at + rng.exponential(0.1, len(at)), DAYS * 24 - 1e-3)
    drift = np.exp(rng.normal(0, 0.4, (n, DAYS)))
    p = np.clip(chance * drift[src, (at // 24).astype(int)] / np.exp(0.08), 0, 1)
    items = pd.DataFrame(
        {
            "time": BEGIN + pd.to_timedelta(at, unit="h"),
            "src": storages[src],
            "dst": storages[dst],
            "fts": "fts.example",
            "expected": chance,
            "flagged": rng.random(len(at)) < p,
        }
    )
    items["link"] = items.src + " -> " + items.dst
    items["src_site"], items["dst_site"] = (items[end].str.partition("_")[0] for end in ("src", "dst"))
    return items.sort_values("time", ignore_index=True)


def add_outage(items, rng):
    """(items with an outage, kind of its entity, name, start, end)."""
    length = pd.Timedelta(hours=24 * float(np.exp(rng.uniform(0, np.log(14)))))
    end = BEGIN + pd.Timedelta(days=DAYS) - pd.Timedelta(hours=float(rng.choice([0, rng.uniform(0, 48)])))  # it goes on, or has just ended
    kind = str(rng.choice(["src", "dst", "site", "link"], p=[0.3, 0.3, 0.3, 0.1]))
    counts = items[COLUMN[kind]].value_counts() / DAYS
    busy = counts.index[counts >= LEAST]
    name = str(rng.choice(busy if len(busy) else counts.index[:1]))
    hit = of_entity(items, kind, name) & items.time.between(end - length, end)
    struck = rng.random(len(items)) < rng.uniform(0.35, 0.95)
    return items.assign(flagged=items.flagged | (hit & struck)), kind, name, end - length, end


def found_start(items, kind, name, start, end, history):
    """The start of what the scan found of the outage, or None."""
    middle = BEGIN + pd.Timedelta(days=DAYS // 2)
    found = scan_incidents(items if history else items[items.time >= middle], ENTITIES, clump="link", level=0.05, since=middle)
    met = found[(found.entity == name) & (found.start <= end) & (found.end >= start)]
    return (met.start.min() if len(met) else None), found


def one_seed(seed, *, per_day=3000, storages=30, quiet=True):
    """What the scan made of one outage: its kind and days, hours from its true start to the found one (NaN
    where it was missed), and with `quiet` how many findings the same nights have without it."""
    rng = np.random.default_rng(seed)
    items = quiet_transfers(rng, rng.choice([0.005, 0.03]), per_day, storages)  # as slow, as failing transfers
    with_outage, kind, name, start, end = add_outage(items, rng)
    at, _ = found_start(with_outage, kind, name, start, end, True)
    return {
        "seed": seed,
        "kind": kind,
        "days": (end - start) / pd.Timedelta(days=1),
        "late_h": np.nan if at is None else (at - start) / pd.Timedelta(hours=1),
        "quiet": len(found_start(items, "", "", BEGIN, BEGIN, True)[1]) if quiet else None,
    }


def main(seeds):
    results = pd.DataFrame([one_seed(seed) for seed in range(seeds)])
    within = results.late_h.abs() <= 6
    print(
        results.assign(within=within)
        .groupby(pd.cut(results.days, [0, 2, 4, 7, 14.1]), observed=True)
        .agg(
            seeds=("seed", "size"),
            found=("late_h", "count"),
            within=("within", "mean"),
            median_late_h=("late_h", "median"),
        )
        .to_string()
    )
    print(results[~within].round(1).to_string())
    print(
        f"start within 6 hours in {within.mean():.0%} of {seeds} seeds; {results.late_h.isna().sum()} missed; "
        f"{results.quiet.mean():.2f} findings on a quiet fortnight (stated: at most 0.05)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
