"""What each study says of itself, in `notebooks/<study>/study.yaml`: the only list of studies, of kinds of
findings, of units, colours and sample files.

    for name, study in studies().items():
        print(study.title, list(study.kinds))

A mistake in such a file is one line that names the file and the entry.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nightshift.yaml_files import load_yaml

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
STEPS = ["1_extract", "2_preprocess", "3_train", "4_analyse"]  # of every study, in their order

Scope = Literal["site", "service", "community", "node", "gpu", "detector", "desk", "other"]
Cadence = Literal["day", "week"]
# what the entity of a finding names: a run is "run 400123, lumisections 1-51", a topic "t027: words", a GPU
# "node gpu 3", a link "storage -> storage"
About = Literal[
    *(
        "site",
        "site or VO",
        "VO at site",
        "storage",
        "link",
        "link or storage",
        "server",
        "node",
        "GPU",
        "run",
    ),
    *("department", "queue", "topic", "other"),
]


class Entry(BaseModel):
    """An entry of study.yaml: no name that is not known, no value that would have to be converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FindingKind(Entry):
    """What one kind of finding is."""

    scope: Scope = "other"  # what it is about: site is a whole site, community a VO, desk what users ask
    about: About | None = None  # what its entity names; by default as the study says, or as its scope tells
    label: str = ""  # what an incident is called in which this kind is the gravest
    description: str = ""  # the same as a sentence, without its subject
    keywords: list[str] = []  # words by which users speak of it in tickets, singular
    impact_unit: str = ""  # one of the study's impact_units; by default its first
    impact_label: str = ""  # what follows the number; by default as the unit says
    cadence: Cadence = "day"  # how often its source can change its mind; by default as often as the study's
    benign: bool = False  # mostly intended by somebody, so it ranks lower
    is_loss: bool = False  # a community does less, which trouble of its site may explain
    follows_incident: bool = False  # users ask because of an incident; it is joined to one
    rows: str = ""  # what a row is that shows it, singular; by default as the study says


class ImpactUnit(Entry):
    """What one unit of impact means."""

    label: str = ""  # what follows the number; by default the unit
    noticeable: float = Field(gt=0)  # an amount that somebody would notice, for ranking
    whole: bool = False  # counts whole things


class ExtraNotebook(Entry):
    """A notebook beside the four steps."""

    reads: Literal["2_preprocess", "3_train", "4_analyse"] = "2_preprocess"  # the last step that it needs
    findings: list[str] = []  # tables of findings that it writes, <study>_<name>; none for a mere page


class Trouble(Entry):
    """What shows a trouble that the simulation makes, or that a table of true incidents names."""

    shown_by: list[str] = Field(min_length=1)  # kinds of findings that show it on the same thing
    shown_at_site: list[str] = []  # kinds that show it anywhere at its site
    stronger_is_higher: bool = True  # whether a higher strength is a worse trouble


def whole_as_float(value):
    """The amounts of units as YAML has them: 5 is 5.0."""
    if isinstance(value, dict):
        return {
            name: unit | {"noticeable": float(unit["noticeable"])}
            if isinstance(unit, dict) and type(unit.get("noticeable")) is int
            else unit
            for name, unit in value.items()
        }
    return value


class LeastHistory(Entry):
    """What a source must hold for a study to find anything: numbers and names of parameters, such as
    train.report_weeks, that are added up; days and weeks are how far it must reach back.
    """

    days: list[int | str] = []
    weeks: list[int | str] = []
    rows: list[int | str] = []


class Study(Entry):
    """What one study says of itself."""

    title: str
    question: str
    cadence: Cadence = "day"
    about: About | None = None  # what entities name where neither the kind nor its scope tells
    rows: str = "row"  # what a row is that shows a finding, such as a transfer, singular
    reports_after: Literal["day", "week", "calendar_week"] = "day"  # how long until it can see a trouble
    colour: str = "C7"  # of its strips, as matplotlib names it
    impact_units: Annotated[dict[str, ImpactUnit], BeforeValidator(whole_as_float)] = {}
    sample: list[str] = []  # files that the simulation writes for it, below data/sample
    least_history: LeastHistory = LeastHistory()
    sample_source: str = ""  # those of them that are its source, a pattern; by default the first
    extra_notebooks: dict[str, ExtraNotebook] = {}
    networks: bool = False  # whether its notebooks import Keras, which the fork server then does once for all
    kinds: dict[str, FindingKind]
    open_kinds: bool = False  # whether labels of its source are kinds, too
    troubles: dict[str, Trouble] = {}  # that the simulation makes in its source
    downloads: dict[str, str] = {}  # files of its analysis that its report offers: path, what it is


def read_study(path):
    """Read the study.yaml at `path`; ValueError says in one line what is wrong with it."""
    try:
        study = Study.model_validate(load_yaml(path, "it"))
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "it"
        raise ValueError(f"{shown(path)}: {where}: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{shown(path)} cannot be read: {' '.join(str(error).split())}") from None
    for step, extra in study.extra_notebooks.items():
        if strange := [table for table in extra.findings if not table.startswith(f"{path.parent.name}_")]:
            raise ValueError(
                f"{shown(path)}: extra_notebooks.{step}: {strange[0]} must begin with {path.parent.name}_, "
                "by which its study is known"
            )
    for name, kind in study.kinds.items():
        if kind.impact_unit not in ("", *study.impact_units):
            raise ValueError(
                f"{shown(path)}: kinds.{name}.impact_unit: {kind.impact_unit!r} is none of its impact_units"
            )
    kinds = {name: complete(kind, study) for name, kind in study.kinds.items()}
    return study.model_copy(update={"kinds": kinds})


def complete(kind, study):
    """Return the FindingKind `kind` with what it leaves to its study: cadence, rows and unit of impact."""
    by_study = {"cadence": study.cadence, "impact_unit": next(iter(study.impact_units), "")}
    by_study["rows"] = study.rows
    return kind.model_copy(
        update={name: one for name, one in by_study.items() if name not in kind.model_fields_set}
    )


def shown(path):
    """A path of the repository as people name it."""
    return "/".join(path.parts[-3:])


@cache
def _read_cached(path, _modified):
    return read_study(path)


def study_files():
    """Paths of all study.yaml, by the names of their studies."""
    return sorted(NOTEBOOKS.glob("*/study.yaml"))


def studies():
    """{name: Study} of all folders below `notebooks` that hold a study.yaml; ValueError says which is
    wrong.
    """
    return {path.parent.name: _read_cached(path, path.stat().st_mtime_ns) for path in study_files()}


def study_of(name):
    """The Study of this name; for one that is not there any more, a Study with nothing but a title."""
    return studies().get(name) or Study(title=name.capitalize(), question="", kinds={})


def extra_notebooks(study):
    """Names of the notebooks of a study beside the four steps, sorted."""
    return sorted(study_of(study).extra_notebooks)


def steps_of(study):
    """Names of all notebooks of a study, the four steps first."""
    return [*STEPS, *extra_notebooks(study)]


def finding_tables(study, step):
    """Names of the tables of findings that a step of a study writes; an early step writes none."""
    if step == STEPS[-1]:
        return [study]
    extra = study_of(study).extra_notebooks
    return list(extra[step].findings) if step in extra else []


def is_mere_page(study, step):
    """Whether a step is an extra notebook that writes no findings: a night can do without it."""
    return step not in STEPS and not finding_tables(study, step)


def steps_after(study, step):
    """Names of the steps of a study that read what `step` of it writes, directly or not."""
    chain = STEPS[STEPS.index(step) + 1 :] if step in STEPS else []
    extra = study_of(study).extra_notebooks
    return [*chain, *(name for name in sorted(extra) if extra[name].reads in (step, *chain))]


def output_of(study, step):
    """The file that stands for a step of a study, below the products folder; one whose name begins with a dot
    is empty, and says that the step ended well: what Snakemake knows as an output it deletes before the step
    and after its failure.
    """
    if step in STEPS:
        return {
            "1_extract": f"data/raw/{study}/status.json",
            "2_preprocess": f"data/clean/.{study}",
            "3_train": f"models/{study}/.trained",
            "4_analyse": f"data/findings/{study}.parquet",
        }[step]
    tables = finding_tables(study, step)
    return f"data/findings/{tables[0]}.parquet" if tables else f"data/scores/.{study}_{step}"


def finding_kinds():
    """{(study, kind): FindingKind} of all studies."""
    return {(study, name): kind for study, entry in studies().items() for name, kind in entry.kinds.items()}


def finding_kind(study, name):
    """Return the FindingKind of this name; ValueError where the study neither lists it nor has open kinds."""
    entry = studies().get(study)
    if entry is None:
        raise ValueError(f"there is no study {study!r}")
    if name not in entry.kinds and not entry.open_kinds:
        raise ValueError(
            f"{study} has no kind of finding {name!r}: its study.yaml lists {', '.join(entry.kinds)}"
        )
    return kind_of(study, name)


def kind_of(study, name):
    """Return the FindingKind of this name; of a name or a study that is not there any more, one without a
    label, with what its study says.
    """
    entry = study_of(study)
    return entry.kinds.get(name) or complete(FindingKind(), entry)


def label_of(study, name):
    """What people call a kind of finding, on every page and in every sentence: "dip" for global_dip; one that
    its study does not list keeps its name, with spaces.
    """
    entry = study_of(study).kinds.get(name)
    return entry.label if entry and entry.label else str(name).replace("_", " ")


def labels_of(study, names):
    """What people call several kinds of findings of a study, a list as by `label_of`."""
    return [label_of(study, name) for name in names]


def label_in_any(name):
    """What people call a kind of finding, or a trouble, whose study is not known: "silence or silent node"
    where several studies have it.
    """
    labels = {label_of(study, name): None for study, entry in studies().items() if name in entry.kinds}
    return " or ".join(labels) or str(name).replace("_", " ")


ABOUT = {  # what the entity of a finding names where neither its kind nor its study says so
    "site": "site",
    "service": "server",
    "community": "VO at site",
    "node": "node",
    "gpu": "GPU",
    "detector": "run",
    "desk": "topic",
}


def about_of(study, name):
    """What the entity of a finding of this kind names, one of About; "other" for a study or a kind that is
    not there any more.
    """
    entry = study_of(study)
    kind = entry.kinds.get(name) or FindingKind()
    return kind.about or ABOUT.get(kind.scope) or entry.about or "other"


def rows_of(study, name):
    """What a row is that shows a finding of this kind, singular: "transfer"."""
    return kind_of(study, name).rows


def impact_units():
    """{unit: ImpactUnit} of all studies."""
    return {unit: one for entry in studies().values() for unit, one in entry.impact_units.items()}


def impact_labels(kinds):
    """{unit: what follows an amount of it} for findings of `kinds`, a set of (study, kind): the label of the
    kinds, where they agree, else that of the unit.
    """
    units, labels = impact_units(), {}
    for study, name in kinds:
        kind = kind_of(study, name)
        default = units[kind.impact_unit].label if kind.impact_unit in units else ""
        labels.setdefault(kind.impact_unit, set()).add(kind.impact_label or default)
    return {
        unit: next(iter(found)) if len(found) == 1 else units[unit].label
        for unit, found in labels.items()
        if unit in units
    }


def troubles():
    """{trouble: (name of the study that sees it first, Trouble)} of all studies."""
    return {name: (study, one) for study, entry in studies().items() for name, one in entry.troubles.items()}
