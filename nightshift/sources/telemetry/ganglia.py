"""Pages of Ganglia: the XML that gmond and gmetad answer on their ports, as often as it was saved."""

import html
import re
from dataclasses import dataclass

from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import open_text
from nightshift.sources.telemetry.series_file import Pieces, SeriesFile, as_arrays

ELEMENT = re.compile(r"<(HOST|METRIC|/HOST)\b([^<>]*)>")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
NO_NUMBERS = {"string", "timestamp"}  # types of metrics
BLOCK = 2**22  # letters


def elements_in(file):
    """Yield (name, attributes) of the hosts, their ends and metrics of an open text file, in their order.
    They are found by their form: no parser of XML takes pages one after another, each with its document type.
    """
    rest = ""
    while block := file.read(BLOCK):
        rest += block
        cut = rest.rfind(">") + 1
        for name, attributes in ELEMENT.findall(rest[:cut]):
            yield name, {key: html.unescape(value) for key, value in ATTRIBUTE.findall(attributes)}
        rest = rest[cut:]


@dataclass
class GangliaPages(SeriesFile):
    """Pages of gmond or gmetad. A metric counts at the moment at which its host last reported, so that a
    host that is down adds nothing, however often it is asked.
    """

    # Source: the document type that stands in each page, of Ganglia 3.6 and 3.7
    label = "pages of Ganglia (XML)"
    excerpt = staticmethod(whole_file)
    sampler = "ganglia"

    def recognises(self, head):
        """By the element that holds a page."""
        return head.line.startswith("<") and "<GANGLIA_XML " in head.text

    def series(self, path, extraction):
        """Yield the series of every metric that is a number; one without a number or a host becomes a bad
        line, with the number of its element.
        """
        found, host, at = Pieces(), "", 0.0
        with open_text(path) as file:
            for number, (name, attributes) in enumerate(elements_in(file), 1):
                try:
                    if name == "METRIC":
                        add_metric(found, attributes, host, at)
                    else:  # a host begins or ends
                        host = ""
                    if name == "HOST":
                        host, at = attributes["NAME"], float(attributes["REPORTED"])
                except KeyError as error:
                    extraction.bad_lines.append((path, number, f"no {error.args[0]}", str(attributes)[:500]))
                except ValueError as error:
                    extraction.bad_lines.append((path, number, str(error)[:100], str(attributes)[:500]))
                yield from map(as_arrays, found.full())
        yield from map(as_arrays, found.rest())


def add_metric(found, attributes, host, at):
    """Add a metric to Pieces, but for texts; ValueError or KeyError where it has no host or no number."""
    if attributes.get("TYPE") not in NO_NUMBERS:
        if not host:
            raise ValueError("no host")
        labels = (("__name__", attributes["NAME"]), ("host", host))
        found.add(labels, at, float(attributes["VAL"]))
