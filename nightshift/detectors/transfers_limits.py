"""Limits of slow transfers that follow the grid: each block is judged by those just before it."""

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from nightshift.detectors.transfers import from_tape
from nightshift.detectors.transfers_predictors import quiet_hours
from nightshift.statistics import calibration_needed, p_values
from nightshift.statistics.trailing import steered

BLOCKS = 20  # as many blocks in the calibration: of a fortnight and more, a block is about a day
ALARMS = (
    0.5  # that a block expects at least: with longer ones, a few hundred transfers end before it is steered
)


def block_rows(n_calibration, alarm_rate):
    """Give the number of transfers in a block: a BLOCKS-th of those that calibrate, or as many as expect
    ALARMS alarms, if that is more.
    """
    return max(int(np.ceil(ALARMS / alarm_rate)), n_calibration // BLOCKS)


class Limits:
    """The limits by which the next block of transfers is judged; with each block they follow the grid.

    calibration : DataFrame link, score, of quiet transfers before the first block. size : transfers of a
    block. level : share of the latest quiet ones that are as strange as an alarm, `alarm_rate` if nothing
    drifts.
    """

    def __init__(self, calibration, alarm_rate):
        self.n, self.alarm_rate = len(calibration), alarm_rate
        self.size = block_rows(self.n, alarm_rate)
        self.level, self.reference = alarm_rate, links_and_scores(calibration)

    def p_values(self, scores, links):
        """Return the p-values of transfers of the block, (n,), from their scores and names of links."""
        rate, reference = self.alarm_rate, self.reference
        ranks = ranks_among(scores, reference.score, links, reference.link, least=int(2 / rate))
        return np.minimum(ranks * rate / self.level, 1)

    def follow(self, quiet, p_value):
        """Take in a block that was judged: its quiet transfers, DataFrame link, score, and p-values."""
        if self.n >= calibration_needed(self.alarm_rate):
            self.level = steered(self.level, (p_value <= self.alarm_rate).mean(), self.alarm_rate)
        self.reference = one_after_the_other(self.reference, links_and_scores(quiet)).tail(self.n)


def links_and_scores(transfers):
    """DataFrame link, a category of texts, and score of transfers."""
    link = transfers.link.astype("category")
    link = link.cat.rename_categories(link.cat.categories.astype(str))
    return pd.DataFrame({"link": link, "score": transfers.score})


def one_after_the_other(earlier, later):
    """Two frames of `links_and_scores` as one, whose links are those of both."""
    links = union_categoricals([earlier.link, later.link])
    return pd.DataFrame({"link": links, "score": np.concatenate([earlier.score, later.score])})


def judge_transfers(transfers, calibration, alarm_rate):
    """Judge scored transfers, block by block: DataFrame p_value, flagged, quiet, a row per row of
    `transfers`; none gives none.

    transfers : DataFrame link, src, dst, started, score, in the order of their starts. calibration :
    DataFrame link, score, of quiet transfers before them. The p-value of a transfer is its rank among as many
    of the latest quiet ones as calibrate, those of its link where they are enough. A share of alarms in the
    quiet hours of a block that is not the stated one moves the level of the next. While the level keeps
    within STEERED, the mean share of n blocks lies above the stated one by at most 7.5 / n of it, and below
    by 2.7 / n (after Gibbs & Candes 2021, on a logarithmic scale). The level stays where it is while the
    calibration is too short for any alarm.

    Errors of `p_values`.
    """
    return judge_blocks(transfers, Limits(calibration, alarm_rate))


def judge_blocks(transfers, limits):
    """Judge transfers as `judge_transfers` does, from the Limits of their first block on. Afterwards `limits`
    are those of the next block, or of the last one where that is not yet full.
    """
    size, alarm_rate = limits.size, limits.alarm_rate
    p_value, quiet = np.ones(len(transfers)), np.ones(len(transfers), bool)
    for first in range(0, len(transfers), size):
        block, here = transfers.iloc[first : first + size], slice(first, first + size)
        p_value[here] = limits.p_values(block.score, block.link)
        quiet[here] = quiet_block(transfers, limits.reference.score, first=first, size=size)
        if len(block) == size:
            limits.follow(block[quiet[here]], p_value[here][quiet[here]])
    return pd.DataFrame(
        {"p_value": p_value, "flagged": p_value <= alarm_rate, "quiet": quiet}, transfers.index
    )


def ranks_among(scores, calibration, names, calibration_names, *, least):
    """Rank transfers among those that calibrate, as `p_values`: (n,), 1 where none of their kind does.

    names : of the links or servers of both. With `least` calibration scores a name is judged by its own; the
    others by those of all transfers of their kind: stage-ins from tape, which take hours, by stage-ins. Where
    nothing calibrates at all, ValueError as of `p_values`.
    """
    scores, calibration = np.asarray(scores, float), np.asarray(calibration, float)
    names, calibration_names = pd.Categorical(names), pd.Categorical(calibration_names)
    staged, calibrated = from_tape(names), from_tape(calibration_names)
    p = np.ones(len(scores))
    for kind in np.unique(staged) if len(calibration) else [False]:
        here, there = staged == kind, calibrated == kind
        if there.any() or not len(calibration):
            of_kind = names[here], calibration_names[there]
            p[here] = p_values(scores[here], calibration[there], *of_kind, min_calibration=least)
    return p


def quiet_block(transfers, usual, *, first, size):
    """Find the transfers of a block that lie in no incident: bool (rows of the block,).

    transfers : as for `judge_transfers`; the block before is looked at too, since an incident may have begun
    there. usual : scores that describe the bulk. What holds most of the time is no incident.
    """
    begin = max(first - size, 0)
    rows = transfers.iloc[begin : first + size].reset_index(drop=True)
    quiet = quiet_hours(rows, rows.score.to_numpy(), np.ones(len(rows), bool), usual=usual)[first - begin :]
    return quiet if quiet.mean() > 0.5 else np.ones(len(quiet), bool)
