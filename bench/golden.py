"""What a night says, as text: to compare two versions of the code by what readers and programs see.

    python -m bench.golden PRODUCTS FOLDER      # once per version, on the same machine, from the same configuration
    diff -r FOLDER_OF_ONE FOLDER_OF_THE_OTHER

FOLDER gets the text of the front page, the index and the feed, digest.json, every table of findings, the columns and types of the tables that
steps promise one another, and `jobs.json`: which steps ran, with which parameters, and which files each wrote. What no two runs share is left
out: durations, moments, versions of the code, the folder itself, and the random names of the site and of people.
"""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pyarrow.parquet as pq
from bs4 import BeautifulSoup

from nightshift.runs import read_run

OF_ONE_RUN = {"seconds", "started", "git", "sha256"}  # keys of what no two runs share
RANDOM = {
    r"urn:uuid:[0-9a-f-]{36}": "urn:uuid:X",
    r"\b(user|person)-[0-9a-f]{4,}\b": r"\1-X",
    r"\b[0-9a-f]{12}\b": "X",  # of the parts of a table
    r"^ok in .* s$": "ok",
    r"^Nightshift [0-9a-f]{7}\+?\.$": "Nightshift.",
}


def without_one_run(value, root):
    """`value`, of JSON, without what differs between any two runs of the same code."""
    if isinstance(value, dict):
        ends = {"ended"} if isinstance(value.get("ended"), str) else set()  # of an incident it is true or false, and stays
        return {key: without_one_run(one, root) for key, one in value.items() if key not in OF_ONE_RUN | ends}
    if isinstance(value, list):
        return [without_one_run(one, root) for one in value]
    return plain(value, root) if isinstance(value, str) else value


def plain(text, root):
    """`text` without the folder of the products and without random names."""
    text = text.replace(str(root.resolve()), "PRODUCTS").replace(str(root), "PRODUCTS")
    for pattern, name in RANDOM.items():
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text


def text_of(page, root):
    """The text that the file `page` shows, a line per element."""
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    for one in soup.find_all(["script", "style"]):
        one.decompose()
    return plain("\n".join(soup.stripped_strings), root)


def text_of_feed(path, root):
    """The text of the feed at `path`, a line per element but for the moments at which it was written."""
    elements = ElementTree.fromstring(path.read_bytes()).iter()
    return plain("\n".join(one.text for one in elements if one.text and one.text.strip() and not one.tag.endswith("updated")), root)


def jobs(night, root):
    """{step: how it ended, what it was given, what it read and which files it wrote}, of the night in the folder `night`."""
    steps = {}
    for path in sorted([*night.glob("*/*.json"), *night.glob("*_run.json")]):
        study, step = ("", path.stem.removesuffix("_run")) if path.parent == night else (path.parent.name, path.stem)
        run = read_run(night, study, step)
        steps[f"{study}/{step}".lstrip("/")] = without_one_run(
            {
                "outcome": run["outcome"],
                "error": run["error"],
                "parameters": run["parameters"],
                "products": sorted({plain(path, root) for path in run["products"]}),
            },
            root,
        )
    return steps


def write(root, folder):
    """Write all texts of the newest night below `root` to `folder`."""
    night = sorted(root.glob("reports/????-??-??"))[-1]
    texts = {"front.txt": text_of(night / "index.html", root), "index.txt": text_of(root / "reports/index.html", root)}
    texts["feed.txt"] = text_of_feed(root / "reports/feed.xml", root)
    digest = without_one_run(json.loads((night / "digest.json").read_text()), root)
    texts["digest.json"], texts["jobs.json"] = (json.dumps(one, indent=1, sort_keys=True) for one in (digest, jobs(night, root)))
    for path in sorted(root.glob("data/findings/*.parquet")):
        texts[f"findings/{path.stem}.csv"] = plain(pd.read_parquet(path).to_csv(index=False, float_format="%.6g"), root)
    paths = [path for part in ("clean", "scores", "findings", "incidents") for path in sorted(root.glob(f"data/{part}/**/*.parquet"))]
    tables = {path.relative_to(root).as_posix(): pq.read_schema(path) for path in paths}
    texts["tables.json"] = json.dumps({name: {one.name: str(one.type) for one in schema} for name, schema in tables.items()}, indent=1)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return sorted(texts)


if __name__ == "__main__":
    print(*write(Path(sys.argv[1]), Path(sys.argv[2])), sep="\n")
