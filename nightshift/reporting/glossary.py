"""The glossary of the site, and how the report of a study is read: terms stand in templates/glossary.yaml,
kinds of findings and units in the study.yaml of each study."""

from nightshift import catalog
from nightshift.reporting.pages import TEMPLATES, write_page
from nightshift.wording import joined
from nightshift.yaml_files import load_yaml


def write_glossary(reports):
    """Write glossary.html below `reports`, a path."""
    terms = load_yaml(TEMPLATES / "glossary.yaml")
    write_page(
        reports / "glossary.html",
        "glossary.html.j2",
        title="Glossary",
        up="",
        terms=terms,
        studies=[described_study(name) for name in catalog.studies()],
        units=described_units(),
    )


def described_study(name):
    """Describe the study `name` and its kinds of findings, by label."""
    study = catalog.study_of(name)
    kinds = [
        {
            "label": catalog.label_of(name, kind_name),
            "description": kind.description,
            "scope": kind.scope,
            "cadence": kind.cadence,
            "benign": kind.benign,
        }
        for kind_name, kind in study.kinds.items()
    ]
    by_label = sorted(kinds, key=lambda kind: kind["label"])
    return {"title": study.title, "question": study.question, "kinds": by_label}


def described_units():
    """Describe the units of impact of all studies, by name."""
    return [
        {"name": name, "label": unit.label or name, "noticeable": f"{unit.noticeable:,g}"}
        for name, unit in sorted(catalog.impact_units().items())
    ]


def reading_of(name):
    """Say how to read the report of the study `name`: what a finding is, what its severity depends on, and
    what may be chance; a list of sentences.
    """
    study = catalog.study_of(name)
    kinds = list(dict.fromkeys(catalog.label_of(name, kind) for kind in study.kinds))
    kinds += ["what its source names itself"] if study.open_kinds else []
    costs = joined(unit.label or name for name, unit in study.impact_units.items())
    wanted = [catalog.label_of(name, kind) for kind, entry in study.kinds.items() if entry.benign]
    benign = f"; what is usually intended ({joined(wanted)}) counts less" if wanted else ""
    sentences = [
        "A finding is one thing that stands out among all that was judged, with its time and a sentence of "
        f"evidence; its kinds are {joined(kinds)}.",
        "Severity is that of the incident that findings make together: how surprising they are, what they "
        f"cost{f' ({costs})' if costs else ''}, how many studies see them, and whether a whole site is "
        f"affected{benign}.",
        "Among many ordinary things a few look strange by chance: the p-value says how often one would look "
        "at least as strange, and a finding has passed a limit that is set for all that was judged together.",
    ]
    weekly = "Weeks are judged, so that what lasts some days may be reported days later."
    return sentences + ([weekly] if study.cadence == "week" else [])
