"""What brilcalc, the tool of CMS for luminosities, printed."""

from dataclasses import dataclass

from nightshift.sources.certification.forms import LumisectionFile
from nightshift.sources.certification.luminosity import is_brilcalc, read_brilcalc


@dataclass
class Brilcalc(LumisectionFile):
    """Output of `brilcalc lumi --byls`, in CSV or in table style, plain or .gz."""

    label = "output of brilcalc lumi --byls"

    def recognises(self, head):
        """By the line that names its columns."""
        return is_brilcalc(head.lines)

    def open(self, path, bad_lines, left_out):
        """Open the file, see `read_brilcalc`."""
        return read_brilcalc(path, bad_lines)
