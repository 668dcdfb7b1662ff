"""Pages of Ganglia: what is cut off costs its own metrics and goes to no other host."""

from types import SimpleNamespace

import pytest

from nightshift.sources.telemetry import ganglia
from nightshift.sources.telemetry.ganglia import GangliaPages

PAGE = """<GANGLIA_XML VERSION="3.7.2" SOURCE="gmond"><CLUSTER NAME="north" LOCALTIME="1769853600">
<HOST NAME="n1" IP="192.0.2.1" REPORTED="1769853600" TN="0"><METRIC NAME="load_one" VAL="1.5" TYPE="float"/></HOST>
<HOST NAME="n&amp;2" IP="192.0.2.2" REPORTED="1769853601" TN="0"><METRIC NAME="load_one" VAL="2.5" TYPE="float"/></HOST>
</CLUSTER></GANGLIA_XML>
"""


def read(tmp_path, text):
    """({(host, metric): [(time, value)]}, reasons of bad lines)"""
    path, extraction = tmp_path / "gmond.xml", SimpleNamespace(bad_lines=[])
    path.write_text(text)
    source = GangliaPages(columns={}, node_label="instance", job_label="")
    series = {(labels["host"], labels["__name__"]): list(zip(at, values, strict=True)) for labels, at, values in source.series(path, extraction)}
    return series, [reason for _, _, reason, _ in extraction.bad_lines]


def test_pages_one_after_another_are_series(tmp_path):
    series, bad = read(tmp_path, PAGE + PAGE.replace("17698536", "17698537"))
    assert series == {("n1", "load_one"): [(1769853600, 1.5), (1769853700, 1.5)], ("n&2", "load_one"): [(1769853601, 2.5), (1769853701, 2.5)]}
    assert bad == []


def test_metrics_of_a_host_that_is_not_whole_go_to_no_other_one(tmp_path):
    for broken, reason in (("<HOST NA", "no host"), ('<HOST NAME="n&amp;2" TN="0">', "no REPORTED")):
        series, bad = read(tmp_path, PAGE.replace('<HOST NAME="n&amp;2" IP="192.0.2.2" REPORTED="1769853601" TN="0">', broken))
        assert series == {("n1", "load_one"): [(1769853600, 1.5)]}
        assert bad[-1] == "no host"
        assert bad[0] == reason
    series, bad = read(tmp_path, PAGE.replace('VAL="1.5"', 'VAL="high"'))
    assert (list(series), len(bad)) == ([("n&2", "load_one")], 1)


@pytest.mark.parametrize("block", [1, 2, 3, 5, 7, 64])
def test_pages_are_read_however_they_are_cut_into_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(ganglia, "BLOCK", block)
    series, bad = read(tmp_path, PAGE.replace("\n", ""))
    assert series == {("n1", "load_one"): [(1769853600, 1.5)], ("n&2", "load_one"): [(1769853601, 2.5)]}
    assert bad == []
