"""Statistics that several studies use, one function for each thing.

intervals     of shares and of counts
alarms        the observed share of alarms beside the stated one
resampling    drawn groups, percentiles of what they give, skill against a baseline
calibration   scores to p-values, tests combined, corrected for their number
robust        spread that a few outliers do not move
trailing      streams judged by their own recent past: levels, alarms, stretches
"""

from nightshift.statistics.alarms import AlarmShare, effective_number
from nightshift.statistics.calibration import (
    allowance_for_unseen,
    benjamini_hochberg,
    calibration_needed,
    chance_of_maximum,
    combine_tests,
    flags_across_folds,
    flags_of_unseen,
    judge_across_folds,
    p_values,
    rows_by_number,
    score_limit,
)
from nightshift.statistics.intervals import (
    check_shares,
    poisson_interval,
    share_interval,
)
from nightshift.statistics.resampling import (
    draw_groups,
    percentile_interval,
    resampled_sums,
    skill_interval,
    skill_score,
)
from nightshift.statistics.robust import robust_spread
from nightshift.statistics.trailing import StreamSettings, follow_level, judge_streams

__all__ = [
    "AlarmShare",
    "StreamSettings",
    "allowance_for_unseen",
    "benjamini_hochberg",
    "calibration_needed",
    "chance_of_maximum",
    "check_shares",
    "combine_tests",
    "draw_groups",
    "effective_number",
    "flags_across_folds",
    "flags_of_unseen",
    "follow_level",
    "judge_across_folds",
    "judge_streams",
    "p_values",
    "percentile_interval",
    "poisson_interval",
    "resampled_sums",
    "robust_spread",
    "rows_by_number",
    "score_limit",
    "share_interval",
    "skill_interval",
    "skill_score",
]
