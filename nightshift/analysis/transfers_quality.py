"""How good the transfers are: what predictors miss, how often alarms are raised, what incidents touch.

Models   losses, and errors in seconds             models_table, predicted_within
Alarms   what should be normal, rules compared     touched_transfers, alarms_outside, compare_rules
Known    incidents, and which of them is found     read_incidents, overlaps
Figures  plot_losses, plot_predicted, plot_scores
"""

import numpy as np
import pandas as pd
import seaborn as sns

from nightshift.analysis.transfers import KINDS
from nightshift.detectors.transfers import meets, of_entity
from nightshift.detectors.transfers_scan import ENTITIES
from nightshift.sources.tables import read_optional
from nightshift.statistics import AlarmShare

INCIDENT_COLUMNS = ["incident", "kind", "start", "end", "entity"]
MINUTES = (1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 60)  # within which a prediction may lie


# ----------------------------------------------------------------------------------------------------- Models


def model_in_use(metrics):
    """Return the one of the models of metrics.json that scores the night."""
    return next(model for model in metrics["models"] if model["in_use"])


def models_table(metrics):
    """List the models of metrics.json as a table to read, best first: DataFrame name, pinball loss, skill,
    low, high (none of these where no skill can be stated, since the baseline has no loss), scores ("tonight"
    for the one in use).
    """
    usual = f"{model_in_use(metrics)['name']}, without the last hours"
    table = pd.DataFrame(metrics["models"]).sort_values("model")
    table = table.assign(
        scores=np.where(table.in_use, "tonight", ""), name=table.name.replace("usual", usual)
    )
    table = table.rename(columns={"model": "pinball loss", "skill_low": "low", "skill_high": "high"})
    stated = ["skill", "low", "high"] if metrics.get("skill_stated", True) else []
    return table[["name", "pinball loss", *stated, "scores"]]


def predicted_within(errors_s):
    """Make the table of the field: share of transfers whose duration is predicted within so many minutes.

    errors_s : {predictor: Series of absolute errors, s}. DataFrame "within, min" and one column each.
    """
    shares = {name: [(errors <= 60 * m).mean() for m in MINUTES] for name, errors in errors_s.items()}
    table = pd.DataFrame(shares)
    table.insert(0, "within, min", list(MINUTES))
    return table


# ----------------------------------------------------------------------------------------------------- Alarms


def touched_transfers(scored, incidents):
    """Tell which of the `scored` transfers known incidents touch: (of all, of those that make transfers
    slow), bool (n,) each.

    incidents : DataFrame kind, entity, start, end. A link, storage or server is met by its name; a site
    outage by what names a storage of the site, at either end.
    """
    touched, slowed = np.zeros(len(scored), bool), np.zeros(len(scored), bool)
    columns = [column for columns in ENTITIES.values() for column in columns]
    for incident in incidents.itertuples():
        met = np.any([meets(scored[column], incident) for column in columns], axis=0)
        meanwhile = (scored.finished >= incident.start) & (scored.started <= incident.end)
        inside = (met & meanwhile).to_numpy()
        touched |= inside
        slowed |= inside & incident.kind.startswith(("slow", "site_outage"))
    return touched, slowed


def found_transfers(scored, found):
    """Tell which of the `scored` transfers belong to a finding: bool (n,)."""
    inside = np.zeros(len(scored), bool)
    for finding in found.itertuples():
        here = of_entity(scored, finding.entity_kind, finding.entity)
        inside |= (here & scored.started.between(finding.start, finding.end)).to_numpy()
    return inside


def transfers_touched(scored, incidents, found):
    """List the `scored` transfers that are not normal: DataFrame row (the number of its row), slowed (whether
    by what makes transfers slow), one row per transfer that the known `incidents` touch, or, where none is
    known, that belongs to one of the problems `found`.
    """
    touched, slowed = touched_transfers(scored, incidents)
    if not len(incidents):
        touched = found_transfers(scored, found)
    return pd.DataFrame({"row": np.flatnonzero(touched), "slowed": slowed[touched]})


def alarms_outside(alarm_rate, normal, incidents):
    """Count the alarms among the `normal` transfers, those outside the known `incidents` or, where none is
    known, outside the findings, as an AlarmShare.
    """
    items = f"transfers outside {'known incidents' if len(incidents) else 'the findings'}"
    return alarms_of(alarm_rate, normal, items)


def alarms_of(alarm_rate, transfers, items):
    """Count the alarms among transfers, DataFrame started, flagged, as an AlarmShare. Those of one stretch of
    six hours share their luck, whatever the link: servers, routes and storages are common to many.
    """
    return AlarmShare.of(alarm_rate, transfers.flagged, transfers.started.dt.floor("6h"), items)


def compare_rules(rules, alarm_rate, *, normal, slowed):
    """Compare how the `rules`, {name: flags (n,)}, would do: DataFrame rule, stated (none for a rule with
    "fixed" in its name), flagged of normal, flagged inside slow incidents; a column without any value is left
    out.

    normal, slowed : bool (n,), the transfers outside of incidents, and those inside slow ones.
    """
    rows = [
        {
            "rule": name,
            "stated": None if "fixed" in name else alarm_rate,
            "flagged of normal": np.asarray(flags)[normal].mean() if normal.any() else None,
            "flagged inside slow incidents": np.mean(np.asarray(flags)[slowed]) if slowed.any() else None,
        }
        for name, flags in rules.items()
    ]
    return pd.DataFrame(rows).dropna(axis=1, how="all")


# ------------------------------------------------------------------------------------------------------ Known


def read_incidents(path, sample, *, begin, end):
    """Read the known incidents of this study that overlap the time from `begin` to `end`: DataFrame of
    INCIDENT_COLUMNS, times in UTC.

    path, sample : as `read_optional` takes them.
    """
    incidents = read_optional(path, sample, INCIDENT_COLUMNS)
    incidents[["start", "end"]] = incidents[["start", "end"]].apply(pd.to_datetime, utc=True)
    incidents = incidents[incidents.kind.isin(KINDS | {"site_outage"})]  # other studies have their own
    return incidents[(incidents.end > begin) & (incidents.start < end)]


def overlaps(incidents, found):
    """Tell which of the problems `found` meets which of the known `incidents` and overlaps it in time: bool
    (incidents, problems).
    """
    overlap = [
        meets(found.entity, one) & (found.start <= one.end) & (found.end >= one.start)
        for one in incidents.itertuples()
    ]
    return np.array(overlap, bool).reshape(len(incidents), len(found))


# ---------------------------------------------------------------------------------------------------- Figures


def plot_losses(ax, losses):
    """Draw the losses of both networks by epoch: DataFrame network, epoch, loss (dotted), validation_loss
    (solid). Returns `ax`.
    """
    last = losses.groupby("network").validation_loss.last()
    for name, label, color in (("feed_forward", "feed-forward", "C1"), ("lstm", "LSTM", "C0")):
        curve = losses[losses.network == name]
        ax.plot(curve.epoch, curve.loss, color=color, lw=1, ls=":")
        ax.plot(curve.epoch, curve.validation_loss, color=color)
        # the name of the upper curve above its end, that of the lower one below: they end close to each other
        side = {"xytext": (0, 8)} if name == last.idxmax() else {"xytext": (0, -8), "va": "top"}
        end = curve.epoch.iloc[-1], curve.validation_loss.iloc[-1]
        ax.annotate(label, end, textcoords="offset points", color=color, ha="right", **side)
    # the first epochs are far above
    ax.set_ylim(top=1.8 * losses.validation_loss[losses.network == "lstm"].min())
    return ax


def plot_scores(ax, scores, limit):
    """Draw how the `scores` (n,) are distributed, and the `limit` beyond which they are flagged; None for no
    limit. Returns `ax`.
    """
    most = 10 if limit is None else 3 * limit
    sns.histplot(x=np.clip(scores, -3, most), stat="density", bins=80, ax=ax, color="C0")
    ax.set_yscale("log")
    if limit is not None:
        ax.axvline(limit, color="C3")
    return ax


def plot_predicted(ax, observed, predicted):
    """Draw predicted against observed durations, s: the closer to the line, the better. Returns `ax`."""
    bins = {"xscale": "log", "yscale": "log", "bins": "log", "gridsize": 45}
    ax.hexbin(observed, predicted, **bins, cmap="Blues", mincnt=1)
    ax.plot([1, 1e4], [1, 1e4], color="0.4", lw=1)
    return ax
