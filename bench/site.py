"""What one more night costs a site that has many: `python bench/site.py PRODUCTS [NIGHTS] [REVISION]`, 60 nights unless stated otherwise.

The latest night below PRODUCTS that has a digest is copied, with its day changed in whatever carries it, to as many nights; incidents keep their
identity and go on through all of them. The last two nights are published, the others stand as their pages were copied: the last but one makes the
pages over all nights, the last one is measured, and then published again with nothing changed. With a REVISION of the repository, all is measured
with that one, too, and their ratios printed.

Counted as read: what a browser opens as part of the site, which is pages, pictures, style sheets, the feed, run.json and digest.json, those over all
nights included. Counted as beside it: executed notebooks, tables, records and logs of the steps.
"""

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
TEXTS = {".html", ".ipynb", ".json", ".log"}
READ = {".html": "pages", ".webp": "pictures", ".css": "style sheets", ".xml": "feed"}
FETCHED = ("run.json", "digest.json")
IN_A_BROWSER = [*READ.values(), "run.json and digest.json"]
BARS = {"one more night, s": "bar 8", "read of one night, MB": "bar 1.5", "front page, MB": "bar 0.35", "largest page, MB": "bar 2"}
OF_NIGHTS = ("data/findings", "data/rows", "data/incidents", "models", "plots", "reports")  # data of the studies are not read, but for their status


def latest_night(products):
    """The latest night below `products` that has a digest, as text."""
    return max(path.parent.name for path in products.glob("reports/*/digest.ipynb"))


def copy_products(products, root, day):
    """Copy what a night of `day` is published from to `root`, without its pages."""
    for name in OF_NIGHTS:
        shutil.copytree(products / name, root / name, ignore=shutil.ignore_patterns("*.html", "*.webp", "*.css", "*.xml", "*.keras", "*.skops"))
    for path in [*products.glob("data/raw/*/status.json"), *products.glob("data/scores/*")]:
        target = root / path.relative_to(products)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for folder in root.glob("reports/*"):
        if folder.is_dir() and folder.name != day:
            shutil.rmtree(folder)


def shift_file(source, target, day, night):
    """Copy a file of `day` to one of `night`; the first night of an incident stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in TEXTS:
        text = source.read_text(encoding="utf-8").replace(day, night)
        target.write_text(text.replace(f'"first_seen": "{night}"', f'"first_seen": "{day}"'), encoding="utf-8")
    elif source.suffix == ".parquet" and "incidents" in source.parts:
        table = pd.read_parquet(source)
        for column in [name for name in ("figure", "night") if name in table]:
            table[column] = table[column].str.replace(day, night)
        table.to_parquet(target, index=False)
    else:
        shutil.copy2(source, target)


def add_night(root, day, night, *, published):
    """Make `night` of `day`; published : whether with its pages, else as a run leaves it."""
    for source in (root / "reports" / day).rglob("*"):
        if source.is_file() and (published or not (source.suffix in READ or source.name in FETCHED)):
            shift_file(source, root / "reports" / night / source.relative_to(root / "reports" / day), day, night)
    for source in (root / "plots/digest" / day).glob("*"):
        shift_file(source, root / "plots/digest" / night / source.name, day, night)
    if not published:
        for source in (root / "data/incidents").glob(f"{day}*"):
            shift_file(source, source.with_name(source.name.replace(day, night)), day, night)


def move_data(root, day, night):
    """Let the data of all studies end with `night` instead of `day`."""
    for path in root.glob("data/raw/*/status.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(day, night), encoding="utf-8")


def publish(code, config, night):
    """Publish `night` by the package at `code`: (seconds, seconds of processors)."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "nightshift", "publish", "--config", config, "--day", night]
    done = subprocess.run(command, cwd=code, env=os.environ | {"PYTHONPATH": str(code)}, capture_output=True, text=True)
    assert done.returncode == 0, f"{night} was not published: {done.stderr[-2000:]}{done.stdout[-2000:]}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bytes_of(reports):
    """{kind: bytes} of all files below `reports`."""
    sizes = Counter()
    for path in reports.rglob("*"):
        if path.is_file():
            kind = READ.get(path.suffix) or (IN_A_BROWSER[-1] if path.name in FETCHED else f"{path.suffix[1:]} files")
            sizes[kind] += path.stat().st_size
    return sizes


def measure(code, products, n_nights):
    """{what: number} of the last of `n_nights`, published by the package at `code`."""
    day = latest_night(products)
    nights = [str(date.fromisoformat(day) + timedelta(days=i)) for i in range(n_nights)]
    with tempfile.TemporaryDirectory() as folder:
        root, config = Path(folder) / "products", Path(folder) / "site.yaml"
        copy_products(products, root, day)
        settings = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"products": str(root)}
        config.write_text(yaml.safe_dump(settings))
        publish(code, config, day)
        for night in nights[1:-2]:
            add_night(root, day, night, published=True)
        for last, night in [(day, nights[-2]), (nights[-2], nights[-1])]:
            before = bytes_of(root / "reports")
            add_night(root, day, night, published=False)
            move_data(root, last, night)
            taken = publish(code, config, night)
        grown = bytes_of(root / "reports") - before
        again = publish(code, config, night)
        front = (root / "reports" / night / "index.html").stat().st_size
        largest = max(path.stat().st_size for path in root.rglob("reports/**/*.html"))
    return {
        "one more night, s": taken[0],
        "one more night, s of processors": taken[1],
        "nothing changed, s": again[0],
        "nothing changed, s of processors": again[1],
        "read of one night, MB": sum(grown[kind] for kind in IN_A_BROWSER) / 1e6,
        **{f"  {kind}, MB": grown[kind] / 1e6 for kind in IN_A_BROWSER},
        "beside it to take along, MB": sum(n for kind, n in grown.items() if kind not in IN_A_BROWSER) / 1e6,
        **{f"  {kind}, MB": n / 1e6 for kind, n in sorted(grown.items()) if kind not in IN_A_BROWSER},
        "front page, MB": front / 1e6,
        "largest page, MB": largest / 1e6,
    }


def checked_out(revision, folder):
    """The repository as of `revision`, below `folder`."""
    done = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, check=True, capture_output=True)
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return Path(folder)


def main():
    products, n_nights = Path(sys.argv[1]).resolve(), int([*sys.argv, "60"][2])
    with tempfile.TemporaryDirectory() as folder:
        before = measure(checked_out(sys.argv[3], folder), products, n_nights) if len(sys.argv) > 3 else {}
    for what, number in measure(REPOSITORY, products, n_nights).items():
        ratio = f"{before[what]:8.3f} before, ratio {before[what] / number:.2f}" if number and before.get(what) else ""
        print(f"{what:<36} {number:8.3f} {BARS.get(what, ''):<12} {ratio}", flush=True)


if __name__ == "__main__":
    main()
