"""Data of 300 made-up persons, planted in the sources of all five studies, and what of them a night shows.

    python bench/persons.py [PERSONS]

The sample is simulated, small, and its sources are given persons: half of them write tickets, the others are written about, in every form of
tests/persons.py; programs name them in errors of transfers, they hold GPUs, run jobs and own records of accounting, and two files are called after
them. Then a night runs, publishes, and writes its mail. What of any person stands in a product, a log, a message or what the commands print is
counted by folder and by kind; `data/raw` may hold all of it, and is asked for its mode. What is found of names of files is found: no rule can tell
whose they are, and who runs the night must read them. Nodes and monitoring elements that are called after three more persons are counted apart: their
names are what a finding is about, and stay. Surnames alone in mid-sentence that are in no list cannot be told; of these, the share that was masked is
counted apart, too.
"""

import gzip
import html
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from conftest import run_here, small_config  # noqa: E402
from persons import BY_PROGRAMS, IN_TICKETS, UNTOLD, Search, people, planted  # noqa: E402

PICTURES = {".png", ".webp", ".keras", ".skops", ".npz"}  # which hold no text that could be searched


def in_tickets(path, persons):
    """Give the help desk its users: half of `persons` write, of the others each is written about in every form."""
    written, about = persons[::2], persons[1::2]
    with sqlite3.connect(path) as base:
        users = [number for (number,) in base.execute("select id from ost_user")]
        for number, one in zip(users, written * len(users), strict=False):
            base.execute("update ost_user set name = ? where id = ?", (one.name, number))
            base.execute("update ost_user_email set address = ? where user_id = ?", (one.email, number))
        threads = list(base.execute("select min(id), thread_id from ost_thread_entry where type = 'M' group by thread_id"))
        texts = [planted(form, one) for form in IN_TICKETS + UNTOLD for one in about]
        for n, text in enumerate(texts):
            entry, thread = threads[-1 - n % len(threads)]
            base.execute("update ost_thread_entry set body = body || ' ' || ? where id = ?", (text + ".", entry))
            base.execute("update ost_ticket__cdata set subject = ? where ticket_id = ? and ? % 3 = 0", (text, thread, n))
        for (entry, _), one in zip(threads, written * len(threads), strict=False):
            base.execute("update ost_thread_entry set poster = ? where id = ?", (one.name, entry))
    return len(texts)


def in_transfers(path, persons):
    """Let programs name each of `persons` in every form, in errors of the last days; accounts, scopes and names of files are theirs, too."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    failed = [event for event in map(json.loads, lines[len(lines) // 2 :]) if event["event_type"] == "transfer-failed"]
    more, texts = [], [(planted(form, one), one) for form in BY_PROGRAMS for one in persons]
    for n, (text, one) in enumerate(texts):
        event = failed[n % len(failed)]
        personal = {"reason": text, "request-id": f"{n:032x}", "account": one.login}
        personal |= {"scope": f"user.{one.login}", "name": f"user.{one.login}.{n}.root"}
        more.append(json.dumps(event | {"payload": event["payload"] | personal}))
    more += [f'{{"payload": "{one.email} {one.name}' for one in persons]  # lines that do not parse
    path.write_bytes(gzip.compress("\n".join([*lines, *more]).encode()))
    return len(more)


def in_accounting(path, persons):
    """Let `persons` own records, of which some cannot be used."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    more = []
    for n, one in enumerate(persons * 4):
        record = json.loads(lines[-1 - n]) | {"LocalUserId": one.login, "CommonName": one.name, "DN": one.subject, "Email": one.email}
        more.append(json.dumps(record | ({"CoreHours": f"? {one.name}"} if n % 4 == 0 else {})))
    path.write_bytes(gzip.compress("\n".join([*lines, *more]).encode()))
    return len(more)


def in_telemetry(folder, persons):
    """Let `persons` hold the GPUs."""
    gpus = pd.read_csv(folder / "gpus.csv.gz", dtype={"user": str})
    called = {user: (one.login, one.name)[n % 2] for n, (user, one) in enumerate(zip(gpus.user.dropna().unique(), persons, strict=False))}
    gpus.assign(user=gpus.user.map(called)).to_csv(folder / "gpus.csv.gz", index=False)
    return len(called)


def in_names(folder, persons):
    """Call nodes and monitoring elements after `persons`: by a mail address, a home and a certificate subject of each."""
    forms = [planted(form, one) for one in persons for form in ("{email}", "{home}/x", "{subject}")]
    nodes = dict(zip(sorted(pd.read_csv(folder / "telemetry/labels.csv").node_id.unique()), forms[:6], strict=False))
    for path in (folder / "telemetry").iterdir():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        column = next(name for name in ("node_id", "ProducerName", "Hostname") if name in table)
        table.assign(**{column: table[column].replace(nodes)}).to_csv(path, index=False)
    path = folder / "certification/histograms.csv.gz"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    more = [table[table.hname == table.hname[0]].assign(hname=f"{one}/hit") for one in forms[6:]]  # all others are needed
    pd.concat([table, *more]).to_csv(path, index=False)
    return len(forms)


def plant(products, persons, named):
    """Move the sample out of the products and plant `persons` in it, and in names those that are `named`: {study: its source}."""
    sample, sources = products / "data/sample", products.parent / "sources"
    sample.rename(sources)
    counts = {
        "tickets": in_tickets(sources / "tickets/osticket.sqlite", persons),
        "transfers": in_transfers(sources / "transfers.jsonl.gz", persons),
        "accounting": in_accounting(sources / "accounting.jsonl.gz", persons),
        "telemetry": in_telemetry(sources / "telemetry", persons),
        "names of nodes and elements": in_names(sources, named),
    }
    for study in ("transfers", "accounting"):
        folder = sources / study
        folder.mkdir(exist_ok=True)
        if (file := sources / f"{study}.jsonl.gz").exists():
            file.rename(folder / f"{persons[7].name} {persons[8].login}.jsonl.gz")
    print(", ".join(f"{n:,} texts in {study}" for study, n in counts.items()), flush=True)
    return {study: f"{sources / study}/*" for study in ("transfers", "accounting", "telemetry")} | {
        "certification": f"{sources}/certification/histograms.csv.gz",
        "tickets": str(sources / "tickets/osticket.sqlite"),
    }


def texts_of(path):
    """All text of a product."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path).select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"])
        return "\n".join(str(one) for name in table for one in {str(value) for value in table[name]})
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return html.unescape(content.decode("utf-8", "replace"))


def night(config, *command):
    done = subprocess.run(
        [sys.executable, "-m", "nightshift", *command, "--config", str(config)],
        cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )  # fmt: skip
    print(f"nightshift {command[0]}: exit code {done.returncode}\n{done.stderr}", flush=True)
    return done.stdout + done.stderr


def main(n=300):
    persons = people(int(n) + 3)
    persons, named = persons[:-3], persons[-3:]
    with tempfile.TemporaryDirectory(prefix="nightshift-persons-") as folder:
        products, config = Path(folder, "products"), Path(folder, "site.yaml")
        settings = small_config(products)
        run_here("simulate.ipynb", products, **settings.pop("simulate"))
        for study, source in plant(products, persons, named).items():
            settings["studies"][study]["extract"]["source"] = source
        beside = {"golden": "golden.json", "dcs": "dcs.json", "luminosity": "lumisections.csv"}
        settings["studies"]["certification"]["extract"] |= {name: str(Path(folder, "sources/certification", file)) for name, file in beside.items()}
        settings["mail"] = {"from": "a@example.org", "server": "smtp://mail.example.org"}
        settings["mail"] |= {"to": [{"address": "b@example.org"}], "failures": ["c@example.org"]}
        config.write_text(yaml.safe_dump(settings))
        printed = night(config, "check") + night(config, "run", "--cores", "2") + night(config, "mail", "--dry-run")
        return report(products, printed, persons, named)


def report(products, printed, persons, named):
    """Print what of `persons` is where, and return 1 where any is that rules can tell; what is of those who are `named` is counted apart."""
    search, found, examples, names = Search(persons), Counter(), {}, Search(named)
    untold = {(search.of[text], text) for one in persons[1::2] for text in (one.given.lower(), one.family.lower(), one.login)}
    texts = {"what the commands print": printed}
    texts |= {str(path.relative_to(products)): texts_of(path) for path in sorted(products.rglob("*"))
              if path.is_file() and path.suffix not in PICTURES and not path.is_relative_to(products / "data/raw")}  # fmt: skip
    texts["names of files"] = "\n".join(texts)
    left = Counter()
    for name, text in texts.items():
        for what, value in search(text):
            if name == "data/clean/tickets.parquet" and (what, value) in untold:
                left[what] += 1
                continue
            found[Path(name).parent.as_posix() if "/" in name else name, what] += 1
            examples.setdefault((Path(name).parent.as_posix() if "/" in name else name, what), (name, value))
    for (where, what), number in sorted(found.items()):
        print(f"{where}: {number} {what}, such as {examples[where, what][1]} in {examples[where, what][0]}")
    of_names = Counter(Path(name).parts[0] for name, text in texts.items() for _ in names(text))
    print("called after persons, nodes and elements keep their names: " + (", ".join(f"{n} in {where}" for where, n in of_names.items()) or "0"))
    size, mode = sum(map(len, texts.values())), (products / "data/raw").stat().st_mode & 0o777
    print(f"{len(texts):,} products, {size:,} characters searched for {len(search.of):,} data of {len(persons)} persons: {sum(found.values())} found")
    share = 1 - left.total() / max(len(untold), 1)
    print(f"names that only a list could tell, in clean tickets: {share:.0%} of {len(untold)} masked everywhere; data/raw has mode {mode:o}")
    return int(bool(found) or mode != 0o700)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
