"""Columns of the tables that studies, digest and site hand to each other: the only lists of them.

A column of findings or incidents is added here, and read where it is needed. Clean tables of the studies have
pandera schemas of their own, in their `2_preprocess`.
"""

TEXT, NUMBER, TIME = "text", "number", "time"

# data/findings/<study>.parquet: one row per problem
FINDING = {
    "study": TEXT,
    "kind": TEXT,  # one of the kinds of the study, see study.yaml
    "entity": TEXT,  # who
    "site": TEXT,  # joins studies
    "start": TIME,
    "end": TIME,
    "score": NUMBER,  # higher is stranger
    "p_value": NUMBER,
    "observed": NUMBER,
    "expected": NUMBER,
    "unit": TEXT,  # of observed and expected
    "evidence": TEXT,  # a sentence with numbers
    "figure": TEXT,
    "impact": NUMBER,  # what it costs; missing where nobody can say
    "impact_unit": TEXT,
}
# columns that a table of findings may have as well: "" where it does not
FINDING_MAY_HAVE = {
    "sites": TEXT,  # of a finding about several sites their names, the most affected first, separated by ", "
    "datasets": TEXT,  # the primary datasets in which a run is strange, in the same form
}
# data/incidents/<day>_findings.parquet: the same, with what the digest adds, and FINDING_MAY_HAVE
INCIDENT_FINDING = [*FINDING, "incident", "table", "night", "kept"]
# data/incidents/<day>.parquet: one row per incident of a night; digest.json publishes all but the last
# three, and standing where it is there
INCIDENT = [
    *("incident", "state", "age_nights", "rank", "shown"),
    *("silenced_as", "silenced_by", "silenced_until", "silenced_why"),
    *("severity", "priority", "site", "title", "summary", "kinds", "studies", "start", "end", "ended"),
    *("first_seen", "p_value", "impact", "impacts", "figure", "change"),
    *("standing", "description", "scope", "benign"),
]
PUBLISHED = INCIDENT[:-4]
# what must be there of an incident of an earlier night, to follow it
FOLLOWED = ["incident", "state", "age_nights", "first_seen", "start", "end", "ended", "studies", "impacts"]
# data/incidents/<day>_proposals.parquet: one row per proposal for an incident
PROPOSAL = ["rank", "remediation", "proposal", "effort", "chance", "low", "high", "trials", "worked"]


def columns_of(kind, schema=FINDING):
    """Names of the columns of a schema that are of one kind, TEXT, NUMBER or TIME, in its order."""
    return [name for name, of in schema.items() if of == kind]
