"""What three nights without power cost: `python bench/missed.py`.

Accounting is reported on five nights, once every night as it should be, and once with three of them missed: then the run of the fifth night makes up
for them. One site is silent before the first night, another from a week on that ends in a missed one. Both must leave the same incidents, findings
and proposals of every night, under the same names, and the chat that is told of nights must get one message after the missed ones, which names the
incidents of all messages that it would have got. Prints what it finds.
"""

import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
disk = runpy.run_path(str(REPOSITORY / "bench/full_disk.py"))
NIGHTS = [str(day.date()) for day in pd.date_range("2026-01-24", "2026-01-28")]  # a week ends on the second one
SILENT = [("C", "2026-01-10"), ("E", "2026-01-19")]

TEXTS = []  # what the chat has got


class Chat(BaseHTTPRequestHandler):
    """Keeps the texts that it gets."""

    def do_POST(self):
        TEXTS.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing: what http.server writes of each request would stand between the figures."""


def nightly(config, day, hook):
    """The run that reports `day` and makes up for missed nights."""
    program = f"import sys; from nightshift.night import run_nightly; sys.exit(run_nightly({str(config)!r}, {day!r}, '1', True))"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "CHAT_WEBHOOK": hook}
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the run of {day} ended with {done.returncode}:\n{done.stderr}")


def nights_of(folder, name, days, hook):
    """Report these days one after the other in products of their own: (their products, texts of the chat)."""
    root, config = folder / name, folder / f"{name}.yaml"
    study = {"extract": {"source": str(folder / "gracc.jsonl")}, "train": {"origins": 1, "injections": 30, "trees": 40, "sites_2021": 5}}
    webhooks = {"to": [{"address": "CHAT_WEBHOOK"}]}
    settings = {"day": NIGHTS[0], "products": str(root), "webhooks": webhooks, "studies": {disk["STUDY"]: study}}
    config.write_text(yaml.safe_dump(settings))
    TEXTS.clear()
    for day in days:
        nightly(config, day, hook)
    return root, list(TEXTS)


def tables(root):
    """{name: table} of the incidents of every night."""
    return {path.name: pd.read_parquet(path) for path in sorted((root / "data/incidents").glob("*.parquet"))}


def named(texts):
    """Titles of the incidents that messages name, each in a line with its severity and its start."""
    return {line.split(",")[0] for text in texts for line in text.splitlines() if re.match(r"- .+, (low|medium|high), since ", line)}


def main():
    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory(prefix="nightshift-missed-") as folder:
        folder = Path(folder)
        disk["write_source"](folder / "gracc.jsonl", SILENT)
        root, each = nights_of(folder, "each", NIGHTS, hook)
        missing, made_up = nights_of(folder, "missed", [NIGHTS[0], NIGHTS[-1]], hook)
        expected, found = tables(root), tables(missing)
        different = [name for name in expected.keys() | found.keys() if name not in found or not found[name].equals(expected.get(name))]
        ages = found[f"{NIGHTS[-1]}.parquet"].age_nights.tolist()
    print(f"tables of nights       {len(expected)}, of which {len(different)} differ: {sorted(different)}")
    print(f"ages on the last night {ages}")
    later, made_up_for = named(each[1:]), named(made_up[1:])
    print(f"messages               {len(each)} of every night, {len(made_up)} with three missed")
    print(f"named after the first  {sorted(later)}, then {sorted(made_up_for)}")
    server.shutdown()
    return int(bool(different) or len(found) != 3 * len(NIGHTS) or len(made_up) != 2 or not later or later != made_up_for)


if __name__ == "__main__":
    sys.exit(main())
