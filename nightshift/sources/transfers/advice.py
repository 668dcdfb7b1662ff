"""Forms of known producers of transfers that are not read, and which of their forms is read instead."""

from nightshift.sources.base import Head
from nightshift.sources.files import LayoutError
from nightshift.sources.transfers.files import JsonFile

FORMS = (  # names that stand together in a form, what it is, what to do
    (
        ("file_state", "job_state", "submit_time", "source_se"),
        "messages of FTS about states of files, which do not say when a transfer began",
        "take those of its topic transfer.fts_monitoring_complete (fts_raw_complete in MONIT), or jobs with "
        "their files",
    ),
    (
        ("file_lfn", "server_host", "client_host", "read_bytes"),
        "accesses to files of XRootD, which last as long as a program keeps a file open",
        "name what moves files, such as Rucio, FTS or the billing files of dCache",
    ),
)


def advice_on(text):
    """What JSON that begins with `text` is, and what to do: [what, advice]; None for no form of FORMS."""
    return next((more for names, *more in FORMS if all(f'"{name}"' in text for name in names)), None)


class OtherTransfers(JsonFile):
    """A form that is not read, of a producer who also writes one that is."""

    label = "another form of a known producer"

    def recognises(self, head):
        """By its names, unless it has those of jobs of FTS with their files, which are read."""
        is_json = head.line[:1] in ("[", "{")
        return is_json and '"files"' not in head.text and advice_on(head.text) is not None

    def read(self, path, extraction):
        """Refuse it with a line that says what to do."""
        what, advice = advice_on(Head(path).text)
        raise LayoutError(f"it is {what}: {advice}")
