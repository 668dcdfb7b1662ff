"""Lines of InfluxDB's protocol: names and texts with what parts them, numbers of each kind, and what is none."""

import pytest

from nightshift.sources.telemetry.line_protocol import record_of


@pytest.mark.parametrize(
    ("line", "name", "tags", "fields", "at"),
    [
        ("cpu,host=n1 u=1.5,n=10i,m=7u,e=-1e3 1769853600000", "cpu", {"host": "n1"}, {"u": 1.5, "n": 10, "m": 7, "e": -1000}, 1769853600000),
        ("> mem,host=n1 free=1i 1769853600", "mem", {"host": "n1"}, {"free": 1}, 1769853600),
        (r"my\ disk,path=/a\,b\ c,k\=k=v used=1 1", "my disk", {"path": "/a,b c", "k=k": "v"}, {"used": 1}, 1),
        (r'sys,host=n1 text="a, b=2 \" 3 c=4",up=true,load=0.5 1769853600', "sys", {"host": "n1"}, {"load": 0.5}, 1769853600),
        ("cpu user=1 1769853600", "cpu", {}, {"user": 1}, 1769853600),
    ],
)
def test_a_line_is_its_tags_and_the_fields_that_are_numbers(line, name, tags, fields, at):
    assert record_of(line) == {"name": name, "tags": tags, "fields": fields, "timestamp": at}


@pytest.mark.parametrize(
    ("line", "reason"),
    [("cpu,host=n1 user=1", "no time"), ("cpu,host=n1", "no line"), ("cpu,host user=1 17", "no line"), ('cpu,host=n1 t="a 17', "no line")],
)
def test_what_is_no_line_says_why(line, reason):
    with pytest.raises(ValueError, match=reason):
        record_of(line)
