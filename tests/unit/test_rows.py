"""The rows that made a finding: their table, and the way from an incident to them."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from incident_tables import DAY, night_with_rows

from helpers import build_findings, write_findings
from nightshift import catalog
from nightshift.evidence import MAX_ROWS, ROW, build_rows, finding_id, ids_of
from nightshift.reporting import site
from nightshift.reporting.rows import LEAST, MOST, amount, heading_of, read_rows, sections_of, texts_of
from nightshift.wording import NOTHING

AT = pd.Timestamp("2026-01-31 04:10:20.5", tz="UTC")
SAME_MINUTE = ["2026-01-31 05:10:07", "2026-01-31 05:10:22"]
HOSTILE = '<img src=x onerror=alert(1)> "a" -> b'


def finding(entity="A -> B", kind="slow_link", start=AT):
    about = {"kind": kind, "entity": entity, "site": "B", "start": start, "end": start, "score": 9.0, "p_value": 0.01}
    return about | {"evidence": "It is slow.", "impact": 1.0}


def transfers(n, **more):
    times = pd.date_range(AT, periods=n, freq="37s")
    return pd.DataFrame({"time": times, "link": "A -> B", "size_gb": np.arange(n) / 3, "error": "timeout"} | more)


def test_rows_bear_the_name_of_their_finding_and_how_many_there_are():
    found = build_findings([finding(), finding("C -> D")], "transfers")
    rows = build_rows(found, [transfers(3), transfers(MAX_ROWS + 7).drop(columns="error").assign(state="failed")])
    assert list(rows)[: len(ROW)] == list(ROW)
    assert {name: str(dtype) for name, dtype in rows.dtypes.items() if name in ROW} == ROW
    assert rows.groupby("finding", sort=False).of.agg(["size", "first"]).values.tolist() == [[3, 3], [MAX_ROWS, MAX_ROWS + 7]]
    assert list(rows.finding.unique()) == ids_of(found)
    assert rows.error.isna().sum() == MAX_ROWS


def test_times_of_another_zone_become_utc_and_those_without_a_zone_are_refused():
    found = build_findings([finding()], "transfers")
    here = transfers(2).assign(time=lambda rows: rows.time.dt.tz_convert("Asia/Tokyo"), until=lambda rows: rows.time)
    rows = build_rows(found, [here])
    assert rows.time[0] == AT
    assert [str(rows[name].dt.tz) for name in ("time", "until")] == ["UTC", "UTC"]
    with pytest.raises(ValueError, match="A -> B have times without a zone"):
        build_rows(found, [here.assign(time=here.time.dt.tz_localize(None))])


def test_a_finding_without_a_row_is_refused_and_no_finding_is_an_empty_table(tmp_path):
    found = build_findings([finding()], "transfers")
    with pytest.raises(ValueError, match="the finding of A -> B has no row that shows it"):
        build_rows(found, [transfers(0)])
    with pytest.raises(ValueError, match="zip"):
        build_rows(found, [])
    with pytest.raises(ValueError, match="two findings are of one kind, entity and start"):
        build_rows(build_findings([finding(), finding()], "transfers"), [transfers(1)] * 2)
    path = tmp_path / "data/findings/transfers.parquet"
    write_findings([], path, "transfers", [])
    empty = pd.read_parquet(tmp_path / "data/rows/transfers.parquet")
    assert {name: str(dtype) for name, dtype in empty.dtypes.items()} == ROW
    write_findings([], path, "transfers")
    assert not (tmp_path / "data/rows/transfers.parquet").exists(), "rows of an earlier night do not stay"


@pytest.mark.parametrize("start", [AT, "2026-01-31T04:10:20Z", "2026-01-31T05:10:20+01:00"])
def test_a_finding_has_one_name_in_its_table_and_in_digest_json(start):
    assert finding_id("transfers", "slow_link", "A -> B", start) == ids_of(build_findings([finding()], "transfers"))[0]


def test_names_differ_with_what_they_name_and_missing_starts_are_one():
    base = finding_id("transfers", "slow_link", "A", AT)
    others = [("x", "slow_link", "A", AT), ("transfers", "x", "A", AT), ("transfers", "slow_link", "B", AT), ("transfers", "slow_link", "A", None)]
    assert len({base, *(finding_id(*one) for one in others)}) == 5
    assert finding_id("a", "b", "c", pd.NaT) == finding_id("a", "b", "c", None) == finding_id("a", "b", "c", "")


@pytest.mark.parametrize(
    ("name", "values", "heading", "texts"),
    [
        ("size_gb", [0.12345, 12345.6, np.nan], "size, GB", ["0.123", "12,346", NOTHING]),
        ("core_hours", [1e-9], "core hours", ["1e-09"]),
        ("run", [400123], "run", ["400123"]),
        ("flagged", [True, False], "flagged", ["yes", "no"]),
        ("flagged", pd.array([True, False, None], "boolean"), "flagged", ["yes", "no", NOTHING]),
        ("error", ["timed out", None], "error", ["timed out", NOTHING]),
        ("time", pd.to_datetime(["2026-01-31", "2026-01-24"], utc=True), "time, UTC", ["2026-01-31", "2026-01-24"]),
        ("closed", pd.to_datetime(["2026-01-31 05:10", None], utc=True), "closed, UTC", ["2026-01-31 05:10", NOTHING]),
        ("time", pd.to_datetime(SAME_MINUTE, utc=True), "time, UTC", SAME_MINUTE),
    ],
)
def test_a_column_reads_as_people_write_it(name, values, heading, texts):
    column = pd.Series(values)
    assert heading_of(name, column) == heading
    assert texts_of(column) == texts


def test_what_is_not_finite_is_said_and_what_rounds_to_a_thousand_is_whole():
    assert amount(float("inf")) == "inf"
    assert [amount(one) for one in (999.4, 999.5, -999.6, 1000)] == ["999", "1,000", "-1,000", "1,000"]


def test_a_page_shows_fewer_rows_of_each_finding_where_there_are_many_and_says_so():
    def notes(n_findings, n_rows):
        found = build_findings([finding(f"link {i}") for i in range(n_findings)], "transfers")
        made = sections_of(found, build_rows(found, [transfers(n_rows)] * n_findings))
        assert [one["words"] for one in made] == [f"{n_rows} transfers"] * n_findings
        return {(len(one["lines"]), one["note"]) for one in made}

    assert notes(1, MOST) == {(MOST, "")}
    assert notes(2, 70) == {(MOST, f"The first {MOST} of 70; all are in the files.")}
    assert notes(40, 300) == {(LEAST, f"The first {LEAST} of 300; the first {MAX_ROWS} are in the files.")}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A published night with an incident of a finding that 60 transfers made, and of one of a study that left no rows."""
    root = tmp_path_factory.mktemp("rows")
    night_with_rows(root, HOSTILE, transfers(60, error="=1+1"))
    return root


def page_of(root, name):
    return BeautifulSoup((root / f"reports/{DAY}/{name}").read_text(), "html.parser")


def test_an_incident_leads_to_the_rows_of_its_finding(night):
    card = page_of(night, "index.html").select_one("details.incident .about")
    [link] = [one for one in card.find_all("a") if one.text == "60 transfers"]
    name, _, place = link["href"].partition("#")
    assert name == "transfers/4_analyse.html"
    report = page_of(night, name)
    table = (night / f"reports/{DAY}/{name}").read_text().partition(f'id="{place}"')[2].partition("</table>")[0]
    assert re.findall("<th [^>]*>([^<\n]*)", table) == ["time, UTC", "link", "size, GB", "error"]
    assert table.count("<tr>") == 1 + MOST
    assert HOSTILE in report.find(id=place).find_parent("details").summary.text
    assert not report.find("img", src="x")


def test_the_study_of_a_finding_leads_to_its_rows_on_the_front_page(night):
    found = page_of(night, "index.html").select_one("details.found")
    assert found.find("a", string="60 transfers")["href"].startswith("transfers/4_analyse.html#rows-")


def test_all_rows_that_are_kept_are_in_files_that_no_spreadsheet_computes(night):
    folder = night / f"reports/{DAY}/transfers"
    table = pd.read_csv(folder / "transfers_rows.csv")
    assert len(table) == len(pd.read_parquet(folder / "transfers_rows.parquet")) == 60
    assert table.time[0] == "2026-01-31T04:10:20Z"
    assert set(table.error) == {"'=1+1"}
    files = {link["href"] for link in page_of(night, "transfers/4_analyse.html").select(".files a")}
    assert {"transfers_rows.csv", "transfers_rows.parquet"} <= files


def test_rows_that_somebody_changed_cost_a_warning_and_no_verdict(night, tmp_path):
    root = shutil.copytree(night, tmp_path / "night")
    rows = root / "data/rows/transfers.parquet"
    rows.write_bytes(rows.read_bytes()[:-9])
    _, [study], _ = site.render_night(root, DAY, {"transfers": DAY})
    assert study["verdict"] == "anomalies 1"
    assert study["warnings"][0].startswith("Rows of findings are not shown: data/rows/transfers.parquet: it")
    assert "it is not what the chain wrote" in study["warnings"][0]
    assert "rows-" not in (root / f"reports/{DAY}/index.html").read_text()
    assert not (root / f"reports/{DAY}/transfers/transfers_rows.csv").exists()


def test_a_night_of_an_earlier_version_has_no_rows_and_no_warning(tmp_path):
    assert read_rows(tmp_path, "transfers", {}) is None


def test_every_kind_says_what_its_rows_are():
    assert {catalog.rows_of(study, kind) for study, kind in catalog.finding_kinds()} - {"row"}
    assert all(catalog.rows_of(study, kind) != "row" for study, kind in catalog.finding_kinds())
    assert catalog.rows_of("transfers", "slow_link") == "transfer"
    assert catalog.rows_of("telemetry", "idle_gpu") == "sample"
    assert catalog.rows_of("telemetry", "a label of the source") == "window"
    assert catalog.rows_of("no study", "no kind") == "row"
