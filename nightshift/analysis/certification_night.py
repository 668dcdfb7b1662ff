"""What a night of the certification study says in words, and what it leaves beside its scores for the page
that asks how good it is.

    Files     of one night, beside its scores            NightFiles, files_of, write_nothing
    Judged    lumisections with all that was decided     write_judged, read_judged
    Words     of the headline and of the findings        quiet_words, history_words, official_share, ...
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from helpers import write_findings, write_json, write_parquet
from nightshift.analysis.certification import luminosity_share
from nightshift.detectors.certification import KEY
from nightshift.statistics import AlarmShare
from nightshift.wording import plural

VALUE = "value: "  # before the name of a dataset, a column with its decision values
SCORED = dict.fromkeys(KEY, "int64") | {"score": float, "p_value": float, "flagged": bool, "verdict": "str"}
JUDGED = [*SCORED, "label", "strange", "decided", "one_step", "both_steps", "of_run", "failure", "named"]
FAILURE = ["kind", "strength", "words", "run", "first", "last", "elements"]

# ------------------------------------------------------------------------------------------------------ files


@dataclass(frozen=True)
class NightFiles:
    """Paths of what a night leaves beside its scores."""

    golden: Path  # our Golden JSON
    difference: Path  # one row per lumisection on which we and the official certification differ
    judged: Path  # one row per judged lumisection, with all that was decided
    failures: Path  # one row per known failure in the judged runs
    settings: Path  # by which rules it was judged


def files_of(paths):
    """Return the `NightFiles` of a study, by its `study_paths`."""
    beside = paths.scores.parent
    return NightFiles(
        golden=beside / "certification_golden.json",
        difference=beside / "certification_diff.parquet",
        judged=beside / "certification_judged.parquet",
        failures=beside / "certification_failures.parquet",
        settings=beside / "certification_night.json",
    )


def write_nothing(paths):
    """Write empty scores and findings, and remove what an earlier night left beside them; paths :
    `study_paths`.
    """
    files = files_of(paths)
    write_parquet(pd.DataFrame(columns=list(SCORED)).astype(SCORED), paths.scores)
    write_findings([], paths.findings, "certification", [])
    for path in (files.golden, files.difference, files.judged, files.failures, files.settings):
        path.unlink(missing_ok=True)


# ----------------------------------------------------------------------------------------------------- judged


def write_judged(files, scored, *, decision, failures, settings):
    """Write what `read_judged` reads.

    scored : DataFrame with the columns JUDGED, named a list of texts. decision : DataFrame of the same rows,
    decision values by dataset. failures : as `parse_failures` gives them. settings : a dict that JSON holds.
    """
    values = decision.add_prefix(VALUE).reset_index(drop=True)
    write_parquet(scored[JUDGED].reset_index(drop=True).join(values), files.judged)
    write_parquet(failures[FAILURE], files.failures)
    write_json(settings, files.settings)


def read_judged(files):
    """Read what `4_analyse` decided: a namespace of scored (DataFrame JUDGED), decision (DataFrame of the
    same rows, decision values by dataset), first_three ({(run, lumisection): its first reasons} of those
    that have any), failures (DataFrame FAILURE) and the settings by their names.
    """
    table = pd.read_parquet(files.judged)
    values = [name for name in table if name.startswith(VALUE)]
    key = pd.MultiIndex.from_frame(table[KEY])
    return SimpleNamespace(
        scored=table[JUDGED],
        decision=table[values].rename(columns=lambda name: name.removeprefix(VALUE)),
        first_three={at: list(names) for at, names in zip(key, table.named, strict=True) if len(names)},
        failures=pd.read_parquet(files.failures),
        **json.loads(files.settings.read_text(encoding="utf-8")),
    )


# ------------------------------------------------------------------------------------------------------ words


def official_share(scored, good):
    """Say which share of the luminosity with an official verdict is certified, by us and by it; "" without
    any verdict.

    scored : DataFrame amount, golden. good : bool (n,), what we certify.
    """
    ruled = scored.golden.notna()
    if not ruled.any():
        return ""
    official = scored.golden.fillna(False).astype(bool)
    ours, theirs = (luminosity_share(scored, chosen, ruled) for chosen in (good & ruled, official))
    return f"of those with an official verdict {ours:.1%}, by it {theirs:.1%}"


def quiet_words(scored, good, *, by_chance, is_measured):
    """Say in part of a sentence what a night without findings is like.

    scored : DataFrame label. good : bool (n,), what we certify. by_chance : ranges that are too uncertain
    to be findings. is_measured : whether anybody knows how well bad ones are found.
    """
    words = "No lumisection is flagged beyond those that fail DCS"
    if len(by_chance):
        words = "No range of bad lumisections is certain enough to be a finding"
    if let_through := int((good & (scored.label == "expert")).sum()):
        words += f", and {let_through:,} that experts call bad are let through"
    if not is_measured:
        words += ", and how well bad ones are found is not known, since too few runs with any were seen"
    return words


def nothing_words(refused, n_rows):
    """Say why nothing is certified: it is `refused`, or none of `n_rows` in the clean table is judged."""
    if refused:
        return f"No lumisection could be certified: {refused}"
    why = "the models have learned from every run there is" if n_rows else "there is no lumisection at all"
    return f"Nothing to judge: {why}"


def history_words(scored, least, n_good_runs):
    """Say why not even a run that is bad as a whole could be found among those judged; "" where it could, or
    none is judged.

    scored : DataFrame run. least : flagged lumisections that a finding takes, None where no number is enough
    (`shortest_range`). n_good_runs : good runs in the calibration.
    """
    longest = scored.run.value_counts().max() if len(scored) else 0
    if not longest or (least is not None and least <= longest):
        return ""
    return (
        f"Even a wholly bad run among the {plural(scored.run.nunique(), 'judged run')} could not be found: "
        f"{plural(n_good_runs, 'good run')} in the calibration cannot tell so much from chance"
    )


def answer_words(reported, n_judged):
    """Say in part of a sentence what was found in `n_judged` runs, and where the strongest range lies; ""
    where nothing was.

    reported : as `bad_ranges` gives them.
    """
    if reported.empty:
        return ""
    first = next(reported.itertuples())
    return (
        f"{plural(len(reported), 'finding')}: bad lumisections in {reported.run.nunique()} of "
        f"{plural(n_judged, 'run')}; the first: run {first.run}, lumisections {first.first}-{first.last}"
    )


def resolution_words(least, n_judged, finding_rate):
    """Say how many flagged lumisections it takes to be a finding, and how many findings are chance.

    least : as in `history_words`. n_judged : judged runs. finding_rate : false findings in a good run.
    """
    takes = "no number of flagged lumisections is enough for a finding"
    if least is not None:
        takes = f"a finding takes {plural(least, 'flagged lumisection')}, each as strange as can be"
    return f"{takes}; if all judged runs were good, {finding_rate * n_judged:.2g} would have one by chance"


def verdict_title(scored, refused):
    """Say how many verdicts need an expert; or, where nothing is certified, why: `refused`.

    scored : DataFrame verdict, at least one row.
    """
    if refused:
        return f"No verdict: {refused}"
    grey, bad = (int((scored.verdict == name).sum()) for name in ("grey", "bad"))
    return f"{grey:,} of {len(scored):,} lumisections ({grey / len(scored):.1%}) are grey, {bad:,} bad"


def alarms_among(stated, good):
    """Count the alarms among good lumisections, DataFrame run, strange, as an AlarmShare."""
    items = f"good lumisections of {plural(good.run.nunique(), 'judged run')}"
    return AlarmShare.of(stated, good.strange, good.run, items)
