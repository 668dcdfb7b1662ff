"""Findings about several sites: their names travel to the digest; and why two recalls of the accounting differ."""

import pandas as pd

from helpers import build_findings
from nightshift.analysis.accounting_quality import two_recalls
from nightshift.incidents.correlation import describe_findings
from nightshift.incidents.intake import check_findings
from nightshift.incidents.wording import sites_of
from nightshift.schemas import FINDING_MAY_HAVE
from nightshift.wording import first_few

TIME = pd.Timestamp("2026-01-26", tz="UTC")
DIP = {"kind": "global_dip", "entity": "vo", "start": TIME, "end": TIME, "score": 1.0, "p_value": 0.01, "evidence": "It fell."}


def test_the_sites_of_a_finding_are_kept_by_the_names_of_the_repository():
    written = build_findings([DIP | {"sites": "A, b-site"}, DIP], "accounting")
    assert written.sites.tolist() == ["A, b-site", ""]
    checked = check_findings(written, "accounting.parquet").assign(night="2026-01-31", kept=False)
    described = describe_findings(checked, {"b-site": "B"})
    assert sorted(described.sites) == ["", "A, B"]
    assert sites_of(described.to_dict("records")) == ["A", "B"]


def test_a_site_is_recognised_in_letters_of_another_width():
    written = build_findings([DIP | {"site": "\uff22-Site", "sites": "\uff22-Site, A"}], "accounting")
    described = describe_findings(written, {"b-site": "B"})
    assert (described.site.tolist(), described.sites.tolist()) == (["B"], ["B, A"])


def test_tables_without_sites_are_read_as_before():
    written = build_findings([DIP | {"site": "A"}], "accounting")
    assert "sites" not in written
    assert check_findings(written, "accounting.parquet").sites.tolist() == [""]
    described = describe_findings(written, {})
    assert all(described[name].tolist() == [""] for name in FINDING_MAY_HAVE)
    assert set(FINDING_MAY_HAVE) <= set(describe_findings(written[:0], {}))
    assert sites_of([{"site": "B"}, {"site": "C"}, {"site": "C"}, {"site": None}], "A") == ["A", "C", "B"]


def test_the_first_few_are_named_and_the_others_counted():
    assert first_few("abc") == "a, b and c"
    assert first_few("abcd") == "a, b, c and d"
    assert first_few("abcde") == "a, b, c and 2 more"
    assert first_few("abcde", 2) == "a, b and 3 more"
    assert first_few([]) == ""


def test_two_recalls_are_said_to_be_of_different_troubles():
    injected = pd.DataFrame({"kind": ["halved"] * 4 + ["silent"] * 4, "found": [False, False, False, True, True, True, True, True]})
    words = two_recalls(injected, 11, 11)
    assert "the 62% is a mean over kinds" in words
    assert "reaches from 25% (halved) to 100% (silent); the 11 of 11 (74% to 100% with 95% confidence)" in words
    assert two_recalls(injected[:0], 1, 2) == ""
