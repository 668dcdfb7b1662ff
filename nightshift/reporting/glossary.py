"""The glossary of the site: its terms stand in templates/glossary.yaml, kinds of findings and units in the
study.yaml of each study."""

import yaml

from nightshift import catalog
from nightshift.reporting.pages import TEMPLATES, write_page


def write_glossary(reports):
    """Write glossary.html below `reports`, a path."""
    terms = yaml.safe_load((TEMPLATES / "glossary.yaml").read_text(encoding="utf-8"))
    write_page(
        reports / "glossary.html",
        "glossary.html.j2",
        title="Glossary",
        up="",
        terms=terms,
        studies=[described_study(study) for study in catalog.studies().values()],
        units=described_units(),
    )


def described_study(study):
    """Describe a Study and its kinds of findings, by label."""
    kinds = [
        {
            "label": kind.label or name.replace("_", " "),
            "description": kind.description,
            "scope": kind.scope,
            "cadence": kind.cadence,
            "benign": kind.benign,
        }
        for name, kind in study.kinds.items()
    ]
    by_label = sorted(kinds, key=lambda kind: kind["label"])
    return {"title": study.title, "question": study.question, "kinds": by_label}


def described_units():
    """Describe the units of impact of all studies, by name."""
    return [
        {"name": name, "label": unit.label or name, "noticeable": f"{unit.noticeable:,g}"}
        for name, unit in sorted(catalog.impact_units().items())
    ]
