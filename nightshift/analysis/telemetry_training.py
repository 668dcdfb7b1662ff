"""What a training of the telemetry study reads, stores for the pages after it, and says in its conclusion."""

import numpy as np
import pandas as pd

from nightshift.analysis.telemetry import kind_in_words
from nightshift.cleaning.telemetry_days import days_of_table, read_windows
from nightshift.cleaning.telemetry_windows import WINDOW_KEYS

ABOUT = ["job_id", "node_id", "app", "input", "anomaly", "start", "end"]


def read_teaching(path, features, *, judged_from, most_windows):
    """Read the windows that can teach or measure: (DataFrame as of `read_windows`; the keys of all windows;
    every how many days one teaches that nobody has labelled).

    path : of the clean table. Windows with a label, or of which the source says what they are for, are read
    whole. Where no label teaches, all windows that end by `judged_from` are taken for healthy, of more than
    `most_windows` those of each second day, each third and so on, the newest first: memory holds these.
    """
    about = read_windows(path, columns=WINDOW_KEYS)
    are_labelled = bool(((about.anomaly != "") & (about.part != "test")).any())
    healthy = (about.anomaly == "") & (about.part == "") & (about.end <= judged_from)
    n_healthy = 0 if are_labelled else int(healthy.sum())  # beside labels, what has none teaches nothing
    every, named = max(1, -(-n_healthy // most_windows)), [[("anomaly", "!=", "")], [("part", "!=", "")]]
    of_days = []
    for number, file in enumerate(reversed(days_of_table(path))):
        whole_day = [] if are_labelled or number % every else [[("end", "<=", judged_from)]]
        of_days.append(read_windows(file, features=features, filters=[*named, *whole_day]))
    windows = pd.concat(of_days, ignore_index=True)
    order = ["node_id", "start", "job_id"]
    return windows.sort_values(order, ignore_index=True, kind="stable"), about, every


def what_is_taught(classes, rare, *, folds, every_days):
    """Say which kinds the windows teach, and what is left out.

    classes : the kinds, none where health and a trouble are not both labelled. rare : those in fewer jobs
    than `folds`. every_days : of windows that nobody has labelled, every how many days one teaches.
    """
    taught = f"Health and a trouble are not both labelled in {folds} jobs: only a detector is trained."
    if classes:
        taught = f"Kinds: {', '.join(map(kind_in_words, classes))}."
        if len(rare):
            taught += f" Left out, in fewer than {folds} jobs: {', '.join(map(kind_in_words, rare))}."
    if every_days > 1:
        taught += f" Of what has no label, one day of {every_days} teaches: see most_windows."
    return taught


def labelled_rows(windows, tests, p, classes):
    """Put down what is said of each labelled window by models that had not seen its job: DataFrame ABOUT, "p
    <class>" and diagnosis, where there is a classifier, and the tests.

    windows : with a RangeIndex. tests : of those that were predicted, with their index. p : probability of
    the classes, (n, classes), None without a classifier.
    """
    rows = windows.loc[tests.index, ABOUT].reset_index(drop=True)
    if p is not None:
        p = p[tests.index]
        rows = rows.join(pd.DataFrame(p, columns=[f"p {name}" for name in classes]))
        rows["diagnosis"] = np.array(classes)[p.argmax(axis=1)]
    rows = rows.join(tests.reset_index(drop=True))
    return rows[rows.anomaly != ""]


def metrics_rows(models, of_classifiers, of_detectors, *, methods, in_use):
    """Complete the rows of metrics.json: a list of dictionaries.

    models : rows of `skill_rows`. of_classifiers, of_detectors : what is common to the rows of each, sample
    sizes, split, alarm rates. methods : names of the detectors. in_use : names of the models that serve.
    """
    return [
        model
        | (of_detectors if model["name"] in methods else of_classifiers)
        | {"in_use": model["name"] in in_use}
        for model in models
    ]


def classifier_sentence(best, against, *, before, stays, since):
    """Say what diagnoses the night: (template, values) for `show_sentence`.

    best : figures of the classifier that this training chose, DataFrame row named by it; None where it has
    none. against : (baseline, its macro-F1). before : a Before. stays : whether the stored one serves.
    since : first day of the windows.
    """
    if best is None:
        return (
            "- **The stored models judge the night**: macro-F1 {f1:.2f}, trained up to {then}. Since {first} "
            "too few jobs are labelled for a new classifier; the detector is not in use.",
            {"f1": before.figure, "then": before.description["trained_day"], "first": since},
        )
    what = f"Diagnosis by {best.name}"
    if stays:
        what = f"Diagnosis by the stored classifier, macro-F1 {before.figure:.2f}, not by {best.name}"
    other = f"{against[0]}: {against[1]:.2f}"
    if best.name == against[0]:
        other = "no model is certain to be better"
    return (
        "- **{what}**: macro-F1 {f1:.2f} on unseen jobs ({other}), false alarms {far:.2%}, misses "
        "{miss:.1%}.",
        {
            "what": what,
            "f1": best.macro_f1,
            "other": other,
            "far": best.false_alarms,
            "miss": best.misses,
        },
    )


def others_in_words(in_use, area, chance):
    """Say what stands against the detector in use: the distance, if it is another one, and random scores."""
    others = f"random scores have {chance:.2f}"
    if in_use == "distance":
        return others
    return f"the distance from what is usual has {area['distance']:.2f}, {others}"


def limit_of(*, can_classify, stays):
    """Say what limits this training: (the limit; whose alarm rate it was, "" where that needs no word)."""
    if can_classify:
        return "an application that nobody has labelled is diagnosed much worse, as the experiments show.", ""
    if stays:
        return "what is new since then may look strange.", ", by the detector that is not in use"
    return (
        "days that are taken for healthy hold some trouble too, and what was there all along looks usual.",
        "",
    )
