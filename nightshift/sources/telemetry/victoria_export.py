"""Exports of VictoriaMetrics."""

from dataclasses import dataclass

from nightshift.sources.telemetry.series_file import SeriesFile, arrays_of, numbered_records


@dataclass
class VictoriaExport(SeriesFile):
    """Lines of /api/v1/export, one series each; times are in milliseconds."""

    label = "an export of VictoriaMetrics"

    def recognises(self, head):
        """By the names in its first line."""
        return head.line.startswith('{"metric":') and '"timestamps":' in head.line

    def series(self, path, extraction):
        """Yield the series of all lines; one that is none becomes a bad line."""
        for n, record in numbered_records(path, extraction, keep_hits=True):
            one = arrays_of(record.get("metric"), record.get("timestamps"), record.get("values"))
            if one is None or not len(one[1]):
                extraction.bad_lines.append((path, n, "no series", str(record)[:500]))
                continue
            labels, at, values = one
            yield labels, at / 1e3, values
