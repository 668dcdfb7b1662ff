"""Tables of a GPU exporter, under the names of NVIDIA's DCGM."""

from dataclasses import dataclass

from nightshift.sources.telemetry import dcgm
from nightshift.sources.telemetry.opening import NodeFile, open_table
from nightshift.sources.telemetry.parts import write_gpus


@dataclass
class GpuTable(NodeFile):
    """One row per GPU and moment."""

    label = "a table of a GPU exporter (DCGM)"

    def recognises(self, head):
        """By its columns; where the user names them, it is a table of nodes."""
        return not self.columns and dcgm.is_gpu_table(self.names_of(head))

    def extract(self, path, extraction):
        """Add one table; errors are those of `layout_of_gpus` and `write_gpus`."""
        names, pages = open_table(path, extraction.bad_lines)
        write_gpus(extraction, pages, layout=dcgm.layout_of_gpus(names), where=path)
