"""What the last nights say of servers, nodes without jobs, which are judged by their own past."""

import pandas as pd

from nightshift.cleaning.telemetry_days import read_windows
from nightshift.detectors.telemetry_distances import LEVEL_NIGHTS, level_half_life, robust_z_scores
from nightshift.live.predictor import Past
from nightshift.statistics import follow_level


def past_of_servers(paths, detector):
    """Read the past of all servers from the products of the last night: a Past; an empty one where no night
    has judged a server.

    paths : of the study. detector : of `load_detector`. Windows within a finding of the last night are no
    past to be held against.
    """
    tests = paths.scores.with_name("telemetry_tests.parquet")
    if not tests.exists() or not paths.clean.exists():
        return Past()
    keys = ["node_id", "job_id", "start", "end"]
    judged = pd.read_parquet(tests, columns=[*keys, *detector.weights])
    judged = calm_windows(judged[judged.job_id == ""], read_findings(paths.findings))
    by_node = judged.groupby("node_id")
    levels = {node: level_of(paths.clean, node, detector) for node, _ in by_node}
    return Past(
        {
            node: {name: rows[name].sort_values().to_numpy() for name in detector.weights}
            for node, rows in by_node
        },
        {node: level for node, level in levels.items() if level is not None},
    )


def read_findings(path):
    """Read who was found from when to when: DataFrame entity, start, end; none where there is no table."""
    columns = ["entity", "start", "end"]
    return pd.read_parquet(path, columns=columns) if path.exists() else pd.DataFrame(columns=columns)


def calm_windows(windows, findings):
    """Leave out the windows that lie in a finding of their node."""
    troubled = pd.Series(False, windows.index)
    for one in findings.itertuples():
        troubled |= (windows.node_id == one.entity) & (windows.end > one.start) & (windows.start < one.end)
    return windows[~troubled]


def level_of(clean, node, detector):
    """Follow the level of one server to its newest window: (F,), in usual spreads; None where the table has
    none, as of one that a night under way has just left behind.

    clean : table of windows, in which the rows of a node lie together, so that one node is read at a time.
    """
    of_node = [("node_id", "==", node), ("job_id", "==", "")]
    newest = read_windows(clean, columns=["end"], filters=of_node).end.max()
    if pd.isna(newest):
        return None
    last = [*of_node, ("end", ">", newest - pd.Timedelta(days=LEVEL_NIGHTS))]
    windows = read_windows(clean, features=detector.inputs, filters=last)
    z, _ = robust_z_scores(windows, detector.usual)
    # the level before one more window, whatever that holds
    return follow_level([*z, z[-1]], level_half_life(windows.start))[-1]
