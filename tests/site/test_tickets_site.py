"""Tickets that attack and tickets that betray: the whole study on them, once, and its site in real Chromium."""

import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, asked_outside, console_errors, run_chain, show
from selenium.common.exceptions import NoAlertPresentException

from nightshift.catalog import STEPS, steps_of
from nightshift.reporting.pages import CHARTS, script

FOREIGN = """
return [...document.querySelectorAll('script:not([type="application/json"]), img[onerror], [href^="javascript" i]')]
    .filter(one => !arguments[0].includes(one.textContent)).map(one => one.outerHTML)
"""  # all but the scripts of front page, reports, trends and search, and the index that the latter reads

SETS = [["front.js", "open.js"], ["tables.js", "open.js"], ["tables.js", "open.js", *CHARTS.scripts], CHARTS.scripts, ["search.js"]]
SCRIPTS = [script(*names).text for names in SETS]
DAY = "2026-01-31"
HOSTILE = {
    "script": "<script>window.taken = 1; alert(1)</script>",
    "end": "</script></style></title><img src=x onerror='window.taken = 1; alert(2)'>",
    "link": "[click](javascript:alert(3)) ![pixel](https://outside.example/pixel.png)",
    "formula": "=cmd|' /C calc'!A0",
    "direction": "\u202egnihtyna\u202c \u200fafter",
    "long": "endless " * 1250,  # 10,000 characters
    "emoji": "\U0001f525 \U0001f9d1\u200d\U0001f680",
    "NUL": "nothing\x00inside",
}  # what stands before a subject that many wrote in the last weeks, so that the study shows it
MINDS = ["login", "queue", "storage", "compiler", "licence", "container", "course", "mail"]
ASKS = {
    "login": ("I cannot log in to the cluster", "my password is refused since this morning"),
    "queue": ("job waits in the queue for days", "the batch job stays pending and nothing starts"),
    "storage": ("disk quota exceeded", "please give the project more storage"),
    "compiler": ("compiler module is missing", "the new Fortran compiler cannot be loaded"),
    "licence": ("licence server out of tokens", "the simulation asks for a licence and gets none"),
    "container": ("container image does not start", "pulling the image ends in an error"),
    "course": ("when is the next Python course", "I want to register for the workshop"),
    "mail": ("mailing list subscription", "add me to the list of announcements"),
}


def people(n, rng):
    """Artificial people, each with name, user, address, phone and host; no two share a word, and no word is one of a language."""
    parts = [a + b for a in ("bro", "dru", "fle", "gri", "klo", "pra", "sku", "tro", "vle", "zwa") for b in ("dax", "gup", "kiv", "lorn", "mez")]
    words = rng.permutation([a + b for a in parts for b in parts if a != b])[: 2 * n]
    first, last = words[:n], words[n:]
    return [
        SimpleNamespace(
            name=f"{a.capitalize()} {b.capitalize()}",
            user=f"{b[:7]}{i}x",
            address=f"{b[:7]}{i}x@{'Campus' if i % 2 else 'campus'}.example",
            phone=f"+49 431 88{10000 + 137 * i}",
            host=f"{a[:6]}{i:02d}.lab.example",
        )
        for i, (a, b) in enumerate(zip(first, last, strict=True))
    ]


def rows_of(planted, others, rng):
    """Rows of the CSV, 80 weeks of ordinary tickets and three of hostile ones; a third of the former hold something private of their writer."""
    end, rows = pd.Timestamp(DAY) + pd.Timedelta(days=1), []

    def add(who, subject, body, hours, queue):
        created = end - pd.Timedelta(hours=float(hours))
        closed = created + pd.Timedelta(hours=float(rng.exponential(40)))
        rows.append(
            {
                "ticket_id": 1000 + len(rows),
                "address": who.address,
                "user_name": who.name,
                "subject": subject,
                "body": body,
                "created": f"{created:%Y-%m-%dT%H:%M:%SZ}",
                "closed": f"{closed:%Y-%m-%dT%H:%M:%SZ}" if closed < end else "",
                "first_response": f"{min(closed, end):%Y-%m-%dT%H:%M:%SZ}",
                "state": "closed" if closed < end else "open",
                "priority": HOSTILE["end"],
                "queue": queue,
                "help_topic": HOSTILE["link"],
            }
        )

    for i in range(700):
        who, mind = (planted if i % 3 == 0 else others)[(i // 3) % 50], MINDS[i % len(MINDS)]
        subject, body = ASKS[mind]
        if i % 3 == 0:
            subject = [f"{subject}, says {who.name}", f"{subject} on {who.host}", f"{subject}: call {who.phone}", f"{subject} {who.address}"][
                i // 3 % 4
            ]
            body = f"Dear team,\n{body}. I am {who.name}, see {who.host}, /home/{who.user}/run and {who.phone}.\nRegards,\n{who.name}\n{who.address}"
        add(who, subject, body, rng.uniform(500, 80 * 168), HOSTILE["script"] if i % 2 else "desk")
    for i in range(80):
        who, attack = others[i % 40], list(HOSTILE.values())[i // 10]
        add(who, f"{attack} graphics driver crashed", "the graphics driver crashed after the update", rng.uniform(1, 480), "desk")
    return rows


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The whole study on planted and hostile tickets: its products, the ids of all tickets and what was planted."""
    products, rng = tmp_path_factory.mktemp("tickets"), np.random.default_rng(5)
    everyone = people(100, rng)
    planted, others = everyone[:50], everyone[50:]
    rows = rows_of(planted, others, rng)
    outside = tmp_path_factory.mktemp("source")
    with open(outside / "tickets.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    users = "".join(f"{one.user}|{'physics' if i % 2 else 'chemistry'}\n" for i, one in enumerate(everyone))
    accounts = "User|Def Acct\n" + users + "Account|Descr|Org\nphysics|a|physics\nchemistry|b|chemistry\n"
    (outside / "accounts.txt").write_text(accounts)
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"day": DAY, "products": str(products), "alarm_rate": 0.02}
    quick = {"resolutions": [1, 2, 4], "bootstraps": 2, "seeds": [1], "nights": 0, "max_tokens": 32}
    config["studies"] = {
        "tickets": {
            "extract": {"source": str(outside / "tickets.csv"), "accounts": str(outside / "accounts.txt"), "labels": ""},
            "train": quick,
            "analyse": {"resamples": 100},
        }
    }
    (outside / "config.yaml").write_text(yaml.safe_dump(config))
    code, printed = run_chain(outside / "config.yaml")
    assert code == 0, printed
    return SimpleNamespace(products=products, ids=[str(row["ticket_id"]) for row in rows], planted=planted, printed=printed)


@pytest.fixture(scope="module")
def pages(night):
    found = sorted((night.products / "reports").rglob("*.html"))
    steps = steps_of("tickets")
    of_code = [f"{step}_notebook" for step in steps if step not in STEPS[:-1]]
    assert [page.stem for page in found if page.parent.name == "tickets"] == sorted(steps + of_code)
    return found


def test_every_ticket_is_kept_or_rejected_with_a_reason(night):
    kept, rejected = (pd.read_parquet(night.products / f"data/clean/tickets{more}.parquet") for more in ("", "_rejected"))
    assert sorted([*kept.ticket_id, *rejected.ticket_id]) == sorted(night.ids)
    assert rejected.reason.str.len().gt(0).all()
    assert len(rejected) < len(kept) / 10
    assert kept.ticket_id.isin(night.ids[-80:]).sum() > 70, "those that attack are tickets as others are"


def test_no_hostile_word_runs_anything_in_a_browser(browser, pages):
    asked_outside(browser)
    for page in pages:
        show(browser, page, 1600)
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert.text
        assert browser.execute_script("return window.taken") is None, page.name
        assert browser.execute_script(FOREIGN, SCRIPTS) == [], page.name
        assert console_errors(browser) == [], page.name
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 1600, page.name
    assert asked_outside(browser) == []


def test_hostile_names_are_shown_as_they_are_written(browser, pages):
    text = {}
    for page in pages:
        show(browser, page, 1600)
        text[page.stem] = browser.execute_script("return document.body.textContent")
    assert "graphics driver crashed" in text["4_analyse"], "the newest topic is shown by examples"
    assert "window.taken" in text["7_asking"], "a queue bears this name"
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", "".join(text.values()))


def words_of(path):
    """All text of a product, in lower case, without pictures, in which any short word may stand by chance."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv().lower()
    text = path.read_bytes().decode("utf-8", errors="replace")
    if path.suffix == ".ipynb":
        notebook = json.loads(text)
        for output in (output for cell in notebook["cells"] for output in cell.get("outputs", [])):
            output.get("data", {}).pop("image/png", None)
        text = json.dumps(notebook, ensure_ascii=False)
    return re.sub(r"data:image/[a-z+]+;base64,[\w+/=]+", "", text).lower()


def test_nothing_private_is_in_any_product_but_the_raw_tables(night):
    products = [path for path in night.products.rglob("*") if path.is_file() and "raw" not in path.parts and path.suffix not in (".png", ".skops")]
    assert {".ipynb", ".html", ".log", ".json", ".parquet"} <= {path.suffix for path in products}
    secrets = {name: [str(getattr(one, name)).lower() for one in night.planted] for name in ("name", "address", "phone", "host", "user")}
    secrets["words of a name"] = [word for name in secrets["name"] for word in name.split()]
    secrets["digits of a phone"] = [re.sub(r"\D", "", phone) for phone in secrets["phone"]]
    secrets["first part of a host"] = [host.partition(".")[0] for host in secrets["host"]]
    raw = words_of(night.products / "data/raw/tickets/tickets.parquet")
    assert all(word in raw for kind in ("name", "address", "phone", "host") for word in secrets[kind]), "all 200 were planted"
    shown = [path for path in products if path.stem == "4_analyse" and path.suffix in (".ipynb", ".html")]
    assert all("graphics driver crashed" in words_of(path) for path in shown), "what is there is found"
    assert len(shown) == 2
    found = {}
    for path in products:
        text = words_of(path)
        for kind, words in secrets.items():
            if there := [word for word in words if word in text]:
                found[f"{path.relative_to(night.products)}, {kind}"] = there[:3]
    assert found == {}
