"""Old data and models go by rules; nothing goes that a night needs, that people said, or that gives incidents their names."""

import json

import pytest

from nightshift.retention import prune, words_about

NIGHTS = ["2026-01-01", "2026-01-20", "2026-01-31"]
RULES = {"keep_raw_days": 10, "keep_model_days": 20}


def ran(root, night, *studies):
    for study in studies:
        folder = root / "reports" / night / study
        folder.mkdir(parents=True)
        (folder / "1_extract.json").write_text("{}")


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * 1000)


@pytest.fixture
def root(tmp_path):
    """Products of a study that runs, of one that ran 11 days ago and of one that ran a month ago, which share the begin of their names."""
    for night, studies in zip(NIGHTS, (["power", "power_grid", "oldest"], ["power", "power_grid"], ["power_grid"]), strict=True):
        ran(tmp_path, night, *studies)
    for study in ("power", "power_grid", "oldest", "never"):
        touch(tmp_path, f"data/raw/{study}/part.parquet", f"data/clean/{study}.parquet", f"data/clean/{study}_rejected.parquet")
        touch(tmp_path, f"data/findings/{study}.parquet", f"data/scores/.{study}_5_quality", f"data/scores/.{study}")
        touch(tmp_path, f"models/{study}/metrics.json", f"encoders/{study}/a.json")
    touch(tmp_path, "data/incidents/2026-01-01.parquet", "feedback/feedback.csv", "data/clean/.power", "data/raw/README.md")
    return tmp_path


def left(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_only_studies_that_do_not_run_any_more_lose_what_is_old(root):
    before = left(root)
    paths, taken = prune(root, RULES | {"studies": {"power_grid": {}}})
    gone = before - left(root)
    ends = [".parquet", "_rejected.parquet"]
    expected = {f"data/clean/{study}{end}" for study in ("power", "oldest") for end in ends} | {"data/clean/.power"}
    expected |= {f"data/{path}" for study in ("power", "oldest") for path in (f"raw/{study}/part.parquet", f"findings/{study}.parquet")}
    expected |= {f"data/scores/.{study}{end}" for study in ("power", "oldest") for end in ("", "_5_quality")}
    expected |= {"models/oldest/metrics.json", "encoders/oldest/a.json"}
    assert gone == expected
    assert taken == 1000 * len(gone)
    assert words_about(paths, taken)[-1] == "0.0 MB of studies that have not run for long"
    assert prune(root, RULES | {"studies": {"power_grid": {}}}) == ([], 0)


@pytest.mark.parametrize("rules", [{}, {"keep_raw_days": 0, "keep_model_days": 0}, {"keep_raw_days": 11, "keep_model_days": 30}])
def test_without_a_rule_and_up_to_its_days_all_stays(root, rules):
    assert prune(root, rules | {"studies": {"power_grid": {}, "oldest": {}}}) == ([], 0)


def test_a_study_of_the_configuration_keeps_all_however_long_ago_it_ran(root):
    assert prune(root, RULES | {"studies": dict.fromkeys(["power", "power_grid", "oldest"])}) == ([], 0)


def test_a_dry_run_says_what_would_go(root):
    before = left(root)
    paths, taken = prune(root, RULES | {"studies": {"power_grid": {}}}, dry_run=True)
    assert left(root) == before
    assert words_about(paths, taken, dry_run=True)[0].startswith("would remove ")


def test_a_night_whose_pages_are_gone_still_says_which_studies_ran(root):
    for night in NIGHTS:
        for path in (root / "reports" / night).rglob("*.json"):
            path.unlink()
        (root / "reports" / night / "run.json").write_text(json.dumps({"studies": {"oldest": {}} if night == NIGHTS[-1] else {}}))
    assert prune(root, RULES | {"studies": {}}) == ([], 0)
