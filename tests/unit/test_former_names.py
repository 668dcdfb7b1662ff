"""What earlier versions wrote is read under the present names: tables of incidents, feedback, records of a night and of its mail."""

import csv
import json

import pandas as pd
import pytest
from incident_tables import DAY, a_night, incident, proposal, write_incidents, write_run

from nightshift.incidents.archive import read_night, read_nights
from nightshift.notify.message import read_night as read_night_for_mail
from nightshift.notify.policy import recipients_of
from nightshift.remediation.feedback import COLUMNS, read_feedback, record_feedback
from nightshift.reporting.archive import headline_of, read_incidents
from nightshift.reporting.archive import read_nights as read_runs
from nightshift.reporting.digests import read_digest

COLUMNS_THEN = {
    "age_nights": "night",
    "title": "what",
    "silenced_as": "mark",
    "silenced_by": "marked_by",
    "silenced_until": "marked_until",
    "silenced_why": "marked_why",
}
WORDS_THEN = {"escalated": "worse", "closed": "over", "silenced": "muted"}


def in_former_form(folder, day=DAY):
    """Write the tables of a night anew as earlier versions had them; returns the table of incidents."""
    path = folder / f"data/incidents/{day}.parquet"
    former = pd.read_parquet(path).rename(columns=COLUMNS_THEN)
    former[["state", "mark"]] = former[["state", "mark"]].replace(WORDS_THEN)
    former.to_parquet(path)
    path = folder / f"data/incidents/{day}_proposals.parquet"
    pd.read_parquet(path).rename(columns={"remediation": "solution", "rank": "place"}).to_parquet(path)
    return former


@pytest.fixture
def earlier(tmp_path):
    """A night as an earlier version left it, and the same night as it is written now."""
    proposals = {"site outage at ISTHMUS-T2": [proposal("Restart it", 0.5)]}
    now, then = tmp_path / "now", tmp_path / "then"
    for folder in (now, then):
        write_incidents(folder, a_night(), proposals=proposals)
        findings = folder / f"data/incidents/{DAY}_findings.parquet"
        pd.read_parquet(findings).assign(table="transfers", night=DAY, kept=False).to_parquet(findings)
    assert set(in_former_form(then).state) == {"new", "worse", "ongoing", "resolved", "over"}
    return now, then


def test_incidents_of_earlier_nights_are_followed_under_present_names(earlier):
    now, then = (folder / "data/incidents" for folder in earlier)
    pd.testing.assert_frame_equal(read_night(then, DAY)[0], read_night(now, DAY)[0])
    nights, notes = read_nights(then, DAY, "2026-02-01")
    assert (list(nights), notes) == ([DAY], [])
    assert nights[DAY][0].age_nights.tolist() == [1, 3, 3, 3, 3, 3, 3]


def test_pages_of_an_earlier_night_are_made_from_its_tables(earlier):
    now, then = earlier
    for folder in earlier:
        write_run(folder)
    read, expected = (read_digest(folder, DAY) for folder in (then, now))
    for one in (read, expected):
        one.pop("ended"), one.pop("seconds")
    assert read == expected
    assert read["counts"] == {"new": 1, "escalated": 1, "ongoing": 1, "resolved": 1, "silenced": 1, "acknowledged": 1, "closed": 1}
    assert read["incidents"][0]["proposals"][0]["remediation"] == "restart"


def test_feedback_that_people_gave_counts_and_grows(tmp_path):
    now = tmp_path / "now"
    write_incidents(now, [incident("stuck queue fts", kinds=["stuck_queue"])])
    name = pd.read_parquet(now / f"data/incidents/{DAY}.parquet").incident.item()
    record_feedback(name, "restart-fts", True, by="a", products=str(now))
    table = now / "feedback/feedback.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0].replace("remediation", "solution"), *lines[1:]]) + "\n")
    in_former_form(now)
    record_feedback(name, "restart-fts", False, by="b", products=str(now))
    feedback, trouble = read_feedback(table)
    assert (feedback.remediation.tolist(), feedback.worked.tolist(), trouble) == (["restart-fts"] * 2, [True, False], "")
    header = next(csv.reader(table.read_text().splitlines()))
    assert header == ["solution" if name == "remediation" else name for name in COLUMNS]  # what people wrote stays as it is


def test_records_of_earlier_nights_are_read_by_feed_and_mail(earlier):
    now, then = earlier
    for folder in earlier:
        write_run(folder)
    path = then / "reports" / DAY / "digest.json"
    record = json.loads(path.read_text())
    record |= {"version": 2, "troubles": record.pop("problems")}
    for one in record["incidents"]:
        silence = one.pop("silence")
        one |= {"night": one.pop("age_nights"), "what": one.pop("title"), "state": WORDS_THEN.get(one["state"], one["state"])}
        one["mark"] = silence and silence | {"as": WORDS_THEN.get(silence["as"], silence["as"])}
        one["proposals"] = [{"solution" if key == "remediation" else key: value for key, value in p.items()} for p in one["proposals"]]
    path.write_text(json.dumps(record))
    read, expected = (read_incidents(folder / "reports", DAY) for folder in (then, now))
    for one, other in zip(read, expected, strict=True):
        assert {key: one[key] for key in ("title", "state", "age_nights", "silence")} == {
            key: other[key] for key in ("title", "state", "age_nights", "silence")
        }
    assert [one["state"] for one in read_night_for_mail(then, DAY).incidents] == [one["state"] for one in expected]


def test_counts_of_earlier_nights_are_read_by_the_index(tmp_path):
    studies = {"transfers": {"verdict": "ok"}}
    digest = {"outcome": "ok", "headline": "x", "counts": {"worse": 1, "over": 2, "muted": 3}}
    folder = tmp_path / "reports" / DAY
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"day": DAY, "studies": studies, "digest": digest}))
    [run], damaged = read_runs(tmp_path / "reports")
    assert (run["digest"]["counts"], damaged) == ({"escalated": 1, "closed": 2, "silenced": 3}, {})
    assert headline_of(run) == "x"
    run["digest"]["counts"] = {"silenced": 3}
    assert "apart from those silenced or acknowledged" in headline_of(run)


def test_who_has_got_which_mail_is_known_from_earlier_records(tmp_path):
    path = tmp_path / "mail.json"
    entry = {"outcome": "sent", "said": "", "message_id": "m", "told": ["20260131-3f2a"]}
    path.write_text(json.dumps({"version": 1, "recipients": {"k": entry}}))
    assert recipients_of(path) == {"k": {"outcome": "sent", "reason": "", "message_id": "m", "notified": ["20260131-3f2a"]}}
