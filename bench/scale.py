"""What each step costs as the data grow: `make bench-scale`, or `python bench/scale.py [FACTOR ...] [--study NAME ...]`, 1, 4 and 16 unless stated.

The sample is drawn that many times as large, as a grid grows: so many times the transfers, tickets and runs of the detector, and copies of every node
and every VO under names of their own. Then each step of each study runs by papermill in a process of its own, of which seconds of processors and the
largest memory are counted; papermill, imports and compilers are part of them.

Of a cost that is a + c * factor ** b, three factors of one ratio r give b without a, as log((third - second) / (second - first)) / log r: what the
table calls the exponent. It says nothing where the cost hardly grew.
"""

import argparse
import gzip
import math
import re
import resource
import sys
import tempfile
from pathlib import Path

import yaml
from steps import REPOSITORY, run

from nightshift.catalog import steps_of, studies

SIZES = {  # that grow, of simulate.ipynb
    "transfers": {"transfers_per_day": 1000},
    "certification": {"certification_days": 35, "certification_runs": 70},
    "tickets": {"tickets_per_week": 23},
}
# which text of a line of the sample is a name that copies change, and how many there are where names are numbered
COPIED = {
    "accounting": ("accounting.jsonl.gz", re.compile(r'(?<="VOName":")([^"]+)'), None),
    "telemetry": ("telemetry/*.csv*", re.compile(r"(?<=-n)(\d\d)\b"), 12),
}
LEAST_GROWTH = {"s": 2.0, "GiB": 0.05}  # below which an exponent would be noise


def copy_lines(path, name, step, factor):
    """Write every line of a file so many times, the name in it changed in all copies but the first."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        lines = file.readlines()

    def renamed(copy):
        return lambda found: f"{int(found[0]) + step * copy:02d}" if step else f"{found[0]}-{copy}"

    with opener(path, "wt") as file:
        file.writelines(lines)
        for copy in range(1, factor):
            file.writelines(changed for line in lines if (changed := name.sub(renamed(copy), line)) != line)


def grow(products, factor, wanted):
    """Draw the sample below a folder, so many times as large for the studies that are wanted: (seconds of processors, GiB) of drawing it."""
    sizes = {name: size * factor for study in wanted for name, size in SIZES.get(study, {}).items()}
    cost = run("simulate", products, **sizes)
    for pattern, name, step in [COPIED[study] for study in wanted if study in COPIED]:
        for path in sorted((products / "data/sample").glob(pattern)):
            copy_lines(path, name, step, factor)
    return cost


def costs_of(factor, wanted):
    """Run every step of the studies that are wanted: {step: (seconds of processors, GiB)}."""
    configured = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["studies"]
    with tempfile.TemporaryDirectory() as folder:
        products = Path(folder)
        costs = {"simulate": grow(products, factor, wanted)}
        for study in wanted:
            for step in steps_of(study):
                costs[f"{study}/{step}"] = run(f"{study}/{step}", products, **(configured[study].get(step[2:]) or {}))
                seconds, gib = costs[f"{study}/{step}"]
                print(f"{factor:3d}x {study}/{step}: {seconds:.0f} s, {gib:.2f} GiB", file=sys.stderr, flush=True)
    return costs


def exponent(values, ratio, least):
    """The b of a + c * factor ** b through three values, in words."""
    if len(values) != 3 or values[2] - values[1] < least or values[1] - values[0] < least / ratio:
        return "-"
    return f"{math.log((values[2] - values[1]) / (values[1] - values[0])) / math.log(ratio):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("factors", nargs="*", type=int, default=[1, 4, 16])
    parser.add_argument("--study", action="append", choices=list(studies()))
    asked = parser.parse_args()
    factors = asked.factors
    measured = [costs_of(factor, asked.study or list(studies())) for factor in factors]
    ratio = factors[1] / factors[0] if len(factors) > 1 else 1
    sized = " ".join(f"{f'{factor}x':>7}" for factor in factors)
    print(f"{'seconds of processors and GiB':<32} {sized}  exponent   {sized}  exponent")
    for step in measured[0]:
        row = f"{step:<32}"
        for place, (unit, least) in enumerate(LEAST_GROWTH.items()):
            values = [costs[step][place] for costs in measured]
            row += " " + " ".join(f"{value:7.1f}" if unit == "s" else f"{value:7.2f}" for value in values)
            row += f"  {exponent(values, ratio, least):>8}  "
        print(row)
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"in all {taken.ru_utime + taken.ru_stime:,.0f} s of processors")


if __name__ == "__main__":
    main()
