"""Usage records in XML, one per job: CAR 1.2 of EMI, as ARC and others write it for APEL, and the Usage
Record of the OGF (GFD.98), which Gratia and older computing elements write.

Names of elements are taken without their namespace. The VO is the group of the user, else the project; for
/cms/Role=production it is cms. Gratia says of what kind of resource a record is, as GRACC does. A record
without a number of processors has no core hours, and the next step rejects it by name.

Source: CAR 1.2 (EMI, 2013) and GFD.98; a record as ARC 3 writes it is in the tests of apel.
"""

import re
from xml.etree import ElementTree

from nightshift.sources.accounting.records import NO_GROUP, AccountingFile, frame_of, row_of_job
from nightshift.sources.excerpts import whole_file
from nightshift.sources.files import LayoutError, open_text

RECORDS = {"UsageRecord", "JobUsageRecord"}
DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
LENGTHS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
PAGE = 20_000  # records


def local(name):
    """The name of an element or attribute without its namespace."""
    return name.rpartition("}")[2]


def seconds(text):
    """Return the seconds of an ISO 8601 duration in days, hours, minutes and seconds, such as PT1H30M; None
    for anything else.
    """
    match = DURATION.fullmatch((text or "").strip())
    parts = {name: part for name, part in match.groupdict().items() if part} if match else {}
    return sum(float(part) * LENGTHS[name] for name, part in parts.items()) if parts else None


def cpu_time(durations):
    """Add up the processor time of a record, seconds; None where it says none.

    durations : [(usageType, seconds)], which may hold the sum (`all`) beside its parts.
    """
    measured = [(what, length) for what, length in durations if length is not None]
    whole = [length for what, length in measured if what in ("all", "")]
    return whole[0] if whole else sum(length for _, length in measured) if measured else None


def first_of(fields, *names):
    """Return the value of the first of `names` that a record has, None where it has none."""
    return next((fields[name] for name in names if name in fields), None)


def row_of(record):
    """Make the row of one record, an element of XML: a dict with the columns of SCHEMA."""
    fields, cpu = {}, []
    for element in record.iter():
        name, text = local(element.tag), (element.text or "").strip()
        attributes = {local(key): value for key, value in element.attrib.items()}
        fields |= attributes if name == "RecordIdentity" else {}
        if name == "Resource" and attributes.get("description") == "ResourceType":
            fields["ResourceType"] = text
        elif name == "CpuDuration":
            cpu.append((attributes.get("usageType", ""), seconds(text)))
        elif text:
            fields.setdefault(name, text)
    cores = fields.get("Processors", "")
    amounts = {
        "WallDuration": seconds(fields.get("WallDuration")),
        "CpuDuration": cpu_time(cpu),
        "Processors": int(cores) if cores.isdecimal() else None,
    }
    more = {
        name: fields[name] for name in ("LocalUserId", "Queue", "MachineName", "Status") if name in fields
    }
    vo = first_of(fields, "Group", "ReportableVOName", "VOName", "ProjectName")
    vo = vo.strip("/").partition("/")[0] if vo else NO_GROUP if "LocalUserId" in fields else None
    identity = first_of(fields, "recordId", "GlobalJobId", "LocalJobId")
    site = first_of(fields, "Site", "SiteName", "MachineName")
    row = row_of_job(identity, site, vo, end=None, amounts=amounts, more=more)
    return row | {"EndTime": fields.get("EndTime"), "ResourceType": fields.get("ResourceType", "Batch")}


def read_usage_records(path):
    """Yield pages of rows of a file of usage records; LayoutError where it has none, or breaks off."""
    rows, n = [], 0
    with open_text(path) as file:
        try:
            for _, element in ElementTree.iterparse(file):
                if local(element.tag) in RECORDS:
                    rows.append(row_of(element))
                    n += 1
                    element.clear()  # so that memory holds one record
                if len(rows) >= PAGE:
                    yield frame_of(rows)
                    rows = []
        except ElementTree.ParseError as error:
            raise LayoutError(f"its XML breaks off after {n:,} records: {error}") from None
    if not n:
        raise LayoutError("it is XML without usage records: needed are CAR or UR of the OGF")
    yield frame_of(rows)


class UsageRecords(AccountingFile):
    """Usage records in XML, one or a list of them."""

    label = "usage records in XML (CAR, UR)"
    excerpt = staticmethod(whole_file)

    def recognises(self, head):
        """By the names of its first elements; a file with a document type, which may declare entities, is
        none.
        """
        begin = head.text[:5000]
        named = re.search(r"<(?:\w+:)?(?:Job)?UsageRecords?\b", begin)
        return bool(named) and "<!DOCTYPE" not in begin

    def read(self, path, extraction):
        """Yield pages of rows, see `read_usage_records`."""
        return read_usage_records(path)
