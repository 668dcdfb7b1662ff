"""Data of 300 made-up persons where people and programs write them: what the masking leaves, and each place where it is applied."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from persons import BY_PROGRAMS, IN_TICKETS, UNTOLD, Search, people, planted

from nightshift import privacy, runs
from nightshift.cleaning.telemetry_windows import clean_gpus
from nightshift.runs import keep_private
from nightshift.sources.accounting import htcondor, pbs
from nightshift.sources.transfers.rucio import FIELDS, type_events

PEOPLE, SITES, NOBODY = people(), privacy.Sites({}), privacy.Names(set())
SEARCH = Search(PEOPLE)
LISTED = privacy.Names(privacy.name_words([one.name for one in PEOPLE], [one.email for one in PEOPLE]) | {one.login for one in PEOPLE})


def masked(text, names=NOBODY):
    return privacy.mask(privacy.visible(text), names, sites=SITES)


def test_no_two_persons_share_anything_and_all_of_it_is_found():
    assert len(SEARCH.of) == 300 * 13
    for form in IN_TICKETS + BY_PROGRAMS + UNTOLD:
        assert all(SEARCH(planted(form, one)) for one in PEOPLE), form
    assert SEARCH("nobody wrote this from 10.200.0.1") == []


@pytest.mark.parametrize("form", IN_TICKETS)
def test_nothing_of_a_person_whom_no_list_knows_is_left_where_rules_can_tell(form):
    for one in PEOPLE:
        left = masked(planted(form, one))
        assert SEARCH(left) == [], left


@pytest.mark.parametrize("form", BY_PROGRAMS)
def test_nothing_of_a_person_is_left_of_what_programs_write(form):
    for one in PEOPLE:
        left = privacy.redact(planted(form, one))
        assert SEARCH(left) == [], left
        assert ("se.x.example" in left) == ("se.x.example" in form)
        assert privacy.redact(left) == left


def several(forms):
    return st.lists(st.tuples(st.sampled_from(forms), st.sampled_from(PEOPLE)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(several(IN_TICKETS), st.sampled_from([". ", "\n", ".\n\n", "; "]))
def test_forms_side_by_side_hide_none_from_the_masking(forms, between):
    left = masked(between.join(planted(form, one) for form, one in forms))
    assert SEARCH(left) == [], left


@settings(max_examples=150, deadline=None)
@given(several(BY_PROGRAMS), st.sampled_from([": ", "\n", " - ", "; "]))
def test_errors_within_errors_hide_none_from_the_masking(forms, between):
    left = privacy.redact(between.join(planted(form, one) for form, one in forms))
    assert SEARCH(left) == [], left


@pytest.mark.parametrize("form", UNTOLD)
def test_who_is_in_a_list_is_masked_where_no_rule_could_tell(form):
    for one in PEOPLE:
        assert SEARCH(masked(planted(form, one), LISTED)) == []
        assert SEARCH(masked(planted(form, one)))  # the limit that docs/sources.md names


def test_two_words_that_few_wrote_are_a_name_and_one_is_not():
    common = privacy.common_words(["please give access to Parallel Programming, my Slurm Jobs"] * 5, "abcde", 5)
    for one in PEOPLE:
        assert privacy.mask_strangers(f"please give {one.name} access", common) == "please give name access"
        assert privacy.mask_strangers(f"{one.family}-{one.given} {one.name}", common) == "name"
    others = "Parallel Programming, Parallel Kaben, Zote KABEN, Zote"
    assert privacy.mask_strangers(others, common) == others
    assert privacy.mask_strangers("", set()) == ""


@pytest.mark.parametrize(
    "text",
    ["500 GB of Speicherplatz 3", "mein Arbeitsplatz 12", "5 jobs on St 3", "3 Nodes at St. Gallen", "python -u script", "git config user.name x",
     "tokens per user. Then", "owner of the job", "ratio ~5", "a ~ b"],
)  # fmt: skip
def test_what_only_resembles_an_address_or_a_user_stays(text):
    assert masked(text) == text


def test_errors_of_transfers_lose_what_they_say_of_people_before_the_clean_table():
    reasons = [planted(form, one) for form in BY_PROGRAMS for one in PEOPLE[:20]]
    raw = pd.DataFrame(dict.fromkeys(FIELDS, ["x"] * len(reasons)), dtype="str").assign(reason=reasons)
    events = type_events(raw)
    assert SEARCH(events.to_csv()) == []
    assert events.reason.notna().all()
    assert type_events(raw.assign(reason=None)).reason.isna().all()


@pytest.mark.parametrize(
    ("job", "vo"),
    [
        ({"owner": "klumbe"}, "no group"),
        ({"owner": "klumbe", "accountinggroup": "klumbe"}, "no group"),
        ({"owner": "klumbe", "accountinggroup": "physics.klumbe"}, "physics"),
        ({"owner": "pilot", "accountinggroup": "group_physics.prod.klumbe", "acctgroupuser": "klumbe"}, "group_physics.prod"),
        ({"owner": "klumbe", "accountinggroup": "physics.atlas"}, "physics.atlas"),
        ({"owner": "klumbe", "accountinggroup": "physics.klumbe", "acctgroup": "physics"}, "physics"),
        ({"owner": "klumbe", "x509userproxyvoname": "atlas"}, "atlas"),
        ({}, "no group"),
    ],
)
def test_a_job_of_htcondor_belongs_to_a_group_and_to_no_user(job, vo):
    assert htcondor.vo_of(job) == vo


def test_a_private_group_of_a_user_is_no_vo():
    job = {"end": "1769418000", "user": "klumbe", "group": "klumbe"}
    assert pbs.row_of("1.x", job)["VOName"] == "no group"
    assert pbs.row_of("1.x", job | {"group": "physics"})["VOName"] == "physics"
    assert pbs.row_of("1.x", job | {"account": '"biology"'})["VOName"] == "biology"


def test_users_of_gpus_are_pseudonyms_in_the_clean_table_unless_they_are_to_be_shown(monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_KEY", "secret")
    users = [*(one.name for one in PEOPLE), *(one.login for one in PEOPLE), ""]
    gpus = pd.DataFrame({"timestamp": pd.Timestamp("2026-01-31", tz="UTC"), "node_id": "n1", "gpu": map(str, range(len(users))), "user": users})
    gpus = gpus.assign(job_id="1", utilisation_pct=1.0, memory_used_mib=1.0, memory_total_mib=2.0, power_w=1.0, temperature_c=1.0)
    clean, rejected, _ = clean_gpus(gpus, pd.Timestamp("2026-02-01", tz="UTC"))
    assert (len(clean), len(rejected)) == (601, 0)
    assert SEARCH(clean.to_csv()) == []
    assert privacy.are_pseudonyms(clean.user) == (True, True)
    assert clean.user.nunique() == 601
    again, _, _ = clean_gpus(gpus, pd.Timestamp("2026-02-01", tz="UTC"))
    assert again.user.tolist() == clean.user.tolist(), "the key keeps them"
    shown, _, _ = clean_gpus(gpus, pd.Timestamp("2026-02-01", tz="UTC"), show_users=True)
    assert set(shown.user) == set(users)
    monkeypatch.delenv("NIGHTSHIFT_KEY")
    assert privacy.are_pseudonyms(shown.user) == (False, False)
    without, other = (set(clean_gpus(gpus, pd.Timestamp("2026-02-01", tz="UTC"))[0].user) - {""} for _ in range(2))
    assert not without & other, "each draws its own"
    assert not (without | other) & set(clean.user)


def test_the_error_of_a_step_its_notebook_and_its_log_say_nothing_of_people(tmp_path):
    text = "\n".join(planted(form, one) for form, one in zip(BY_PROGRAMS * 9, PEOPLE, strict=False))
    outputs = [{"output_type": "error", "ename": "E", "evalue": text, "traceback": [text, "\x1b[31m" + text]}]
    outputs += [{"output_type": "stream", "name": "stdout", "text": text}]
    cells = [{"cell_type": "code", "source": "", "metadata": {}, "outputs": outputs}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    executed = tmp_path / "1_extract.ipynb"
    executed.write_text(json.dumps(notebook))
    executed.with_suffix(".log").write_text(text)
    left = keep_private(text, executed) + executed.read_text() + executed.with_suffix(".log").read_text()
    assert len(left) > 3 * len(text) / 2
    assert SEARCH(left) == []


def test_a_log_that_was_cut_says_nothing_of_people_either(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LONGEST_LOG", 3000)
    monkeypatch.setattr(runs, "REDACTED_OF_LONGEST", 1000)
    executed = tmp_path / "1_extract.ipynb"
    executed.with_suffix(".log").write_text("one of many lines\n" * 300 + "mail of jane.doe@campus.example\n" + "the last line\n" * 10)
    keep_private("it failed", executed)
    left = executed.with_suffix(".log").read_text()
    assert 900 < len(left) <= 1000
    assert "jane" not in left
    assert left.endswith("the last line\n")
    executed.with_suffix(".log").write_text("one of many lines\n" * 300)
    keep_private("it failed", executed)
    assert executed.with_suffix(".log").read_text().splitlines() == ["one of many lines"] * 55, "no half of a line, which may be half a name"
    executed.with_suffix(".log").write_text("\x1b[31mjane.doe@campus.example\x1b[0m\r\n" * 300)
    runs.without_sequences(executed.with_suffix(".log"))
    assert set(executed.with_suffix(".log").read_text().splitlines()) == {"jane.doe@campus.example"}
