"""Write the dashboards as Grafana's JSON, by Grafana's own library for that: `python deploy/monitoring/generate.py` in the repository.

The committed files in grafana/dashboards are what it writes. Version 11.6 of the format; newer versions of Grafana read it.
"""

import json
from itertools import count
from pathlib import Path

from dashboards import DASHBOARDS
from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).resolve().parent / "grafana/dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")  # of grafana/provisioning/datasources
KINDS = {"timeseries": timeseries, "stat": stat, "table": table, "bargauge": bargauge}
SIZES = {"stat": (4, 4), "table": (7, 24), "bargauge": (8, 12), "timeseries": (8, 12)}  # {kind: (height, width of 24)}


def build_target(query, number, kind):
    """A query of a panel; what a table or a single number shows is asked for one moment alone."""
    expression, legend = query
    target = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
    if kind == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    return target.range() if kind == "timeseries" else target.instant()


def build_panel(one):
    """A Panel of `dashboards` as Grafana has it."""
    height, width = SIZES[one.kind]
    built = KINDS[one.kind].Panel().title(one.title).datasource(SOURCE).unit(one.unit).height(height).span(width)
    for number, query in enumerate(one.queries):
        built = built.with_target(build_target(query, number, one.kind))
    if one.about:
        built = built.description(one.about)
    if one.kind != "table":
        built = built.min(0) if one.unit in ("percent", "percentunit", "bytes", "s") else built
        built = built if one.top is None else built.max(one.top)
    if one.kind == "table":  # the time is that of the question, and names of metrics tell nothing
        hidden = {"excludeByName": {"Time": True, "__name__": True, "instance": True, "job": True}}
        built = built.with_transformation(DataTransformerConfig(id_val="organize", options=hidden))
    if one.stacked:
        built = built.fill_opacity(30).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    return built


def build_variable(name, query):
    """A variable of a dashboard, of which several values, or all, can be chosen."""
    every = VariableOption(selected=True, text="All", value="$__all")
    built = dashboard.QueryVariable(name).query(query).datasource(SOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return built.multi(True).include_all(True).all_value(".*").sort(VariableSort.ALPHABETICAL_ASC).current(every)


def build_dashboard(one):
    """A Dashboard of `dashboards` as Grafana has it; a link leads to each of the others."""
    built = dashboard.Dashboard(one.title).uid(one.uid).description(one.about).tags(list(one.tags)).timezone("browser").refresh("1m")
    built = built.time("now-6h", "now").tooltip(DashboardCursorSync.CROSSHAIR).readonly()
    others = dashboard.DashboardLink("Nightshift").type(DashboardLinkType.DASHBOARDS).tags(["nightshift"]).as_dropdown(True)
    built = built.link(others.keep_time(True).include_vars(True))
    for variable in one.variables:
        built = built.with_variable(build_variable(*variable))
    numbers = count(1)  # the library leaves out the ids of panels, by which links and alerts name them
    for title, panels in one.rows.items():
        built = built.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            built = built.with_panel(build_panel(panel).id(next(numbers)))
    return built.build()


def texts():
    """{name of the file: its text} of all dashboards."""
    return {f"{one.uid}.json": json.dumps(build_dashboard(one), cls=JSONEncoder, indent=1, sort_keys=True) + "\n" for one in DASHBOARDS}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
