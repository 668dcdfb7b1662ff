"""One night of a configuration as the chain sees it: which parameters each step gets, which files it reads,
and which steps must run again whatever Snakemake remembers.

Snakemake orders the steps and repeats what files and parameters make out of date. What it cannot know stands
here: that training is weekly, which studies have findings of tonight, and that a product was not made by the
chain (fingerprints in the records of the steps).
"""

import json
import os
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

from nightshift.catalog import (
    STEPS,
    extra_notebooks,
    finding_tables,
    is_mere_page,
    output_of,
    steps_of,
    study_files,
)
from nightshift.config import DIGEST, SHARED, SIMULATE, notebook_of
from nightshift.credentials import masked
from nightshift.incidents.silences import SILENCES_FILE
from nightshift.parameters import completed, declared_at
from nightshift.products import differing, expanded, read_json, read_notebook, size_and_time, state_of
from nightshift.runs import (
    JUST_WRITTEN,
    notebook_path,
    outcomes_of,
    read_run,
    record_path,
    steps_of_tonight,
)
from nightshift.sources.addresses import is_server
from nightshift.sources.files import REPOSITORY, matching_files

# modules whose changes change no product: those that run notebooks, those that only notebooks outside the
# chain import, and `parameters` and `products`, by which products are named and checked
DRIVES = {
    "__main__",
    "backtest",
    "chain",
    "check",
    "cli",
    "config",
    "config_schema",
    "forkserver",
    "kernel",
    "new_study",
    "night",
    "unchanged",
}
DRIVES |= {"backtest_figures", "backtest_scores", "night_status", "parameters", "products", "truth"}
DRIVES |= {"backup", "live", "log", "missed", "retention", "serve", "surroundings", "sweeps"}
OF_SAMPLE = {"simulate"}  # folders of the package that only the simulation imports
# folders of the package that no notebook of a study imports
OF_DIGEST = {"incidents", "notify", "remediation", "reporting"}
MODULES = [
    path.relative_to(REPOSITORY)
    for path in sorted(Path(__file__).resolve().parent.rglob("*.py"))
    if path.parent.name not in OF_SAMPLE | DRIVES
    and (path.stem not in DRIVES or path.parent.name != "nightshift")
]
CODE_OF_STUDIES = ["helpers.py", *(str(path) for path in MODULES if path.parent.name not in OF_DIGEST)]
CODE_OF_DIGEST = ["helpers.py", *map(str, MODULES)]
TOUCHED = "touched"  # a reason to train that Snakemake finds by itself: a file is newer


def files_of(pattern):
    """Paths of the files that `pattern` names, as Snakemake is to see them: relative to the repository where
    the pattern is relative.
    """
    paths = matching_files(pattern)
    absolute = os.path.isabs(os.path.expanduser(pattern))
    return paths if absolute else [os.path.relpath(path, REPOSITORY) for path in paths]


def day_in(text):
    """The date that `text` says, None where it says none."""
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        return None


class Night:
    """One night: `config` as nightshift.config.check returns it. Paths are relative to the repository."""

    def __init__(self, config):
        self.config = config
        self.root = expanded(config.get("products") or ".")
        self.day = date.fromisoformat(config["day"])
        self.report = self.root / "reports" / config["day"]
        self.studies = config["studies"]

    # -------------------------------------------------------------------------------- what each step is given

    def day_of(self, study):
        """Last day of a study's data: the night, or the study's own `day` where its source ended long ago."""
        return date.fromisoformat(self.studies[study].get("day", self.config["day"]))

    def parameters(self, study, step=""):
        """Parameters of one notebook: the shared ones that it declares, then its own. The sample (study "")
        has its own last day.
        """
        own = self.studies[study].get(step[2:]) if study else self.config.get("simulate")
        day = {"day": str(self.day_of(study))} if study else {}
        shared = {
            name: value
            for name, value in self.shared(notebook_of(study, step)).items()
            if study or name != "day"
        }
        return (
            ({"source": "sample"} if step == "1_extract" else {})
            | (shared | day if "day" in shared else shared)
            | (own or {})
        )

    def shared(self, notebook):
        """The shared parameters that the configuration sets and a notebook declares."""
        return {
            name: self.config[name]
            for name in SHARED
            if name in self.config and name in declared_at(notebook)
        }

    def source(self, study):
        """The source of a study."""
        return str(self.parameters(study, "1_extract")["source"])

    def step_parameters(self, study, step):
        """Parameters of the notebook of a step, as JSON has them; training gets a day of its own."""
        return self.parameters(study, step) | ({"day": self.train_day(study)} if step == "3_train" else {})

    def digest_parameters(self):
        """Parameters of the digest: the shared ones, its own, and which studies have findings of tonight."""
        tables = {study: self.tables_of_tonight(study) for study in self.studies}
        nights = {study: str(self.day_of(study)) for study, (there, _) in tables.items() if there}
        missing = [
            name
            for study, (_, lacking) in tables.items()
            for name in (lacking if study in nights else [study])
        ]
        return (
            self.shared(DIGEST) | {"nights": nights, "missing": missing} | (self.config.get("digest") or {})
        )

    def named_files(self, notebook, parameters):
        """The files that parameters of a notebook name beside the source, by default or as `parameters`:
        labels, certificates, lists.
        """
        values = completed(notebook, parameters)
        named = [
            value
            for name, value in values.items()
            if name != "source" and isinstance(value, str) and value not in ("", "sample")
        ]
        return [path for value in named for path in files_of(value)]

    def read_beside(self, study, step):
        """The files that a step of a study reads beside the source."""
        return self.named_files(notebook_of(study, step), self.parameters(study, step))

    def files_of_source(self, study):
        """The files of a study's source; none of the sample, of a server, and where none is there."""
        source = self.source(study)
        return [] if source == "sample" or is_server(source) else files_of(source)

    def state_read(self, study, step):
        """A hash of the files that a step of a study reads beside products, as they are, see `state_of`."""
        of_source = self.files_of_source(study) if step == "1_extract" else []
        return state_of([*of_source, *self.read_beside(study, step)])

    # ------------------------------------------------------------------------------------- training is weekly

    @cached_property
    def trains(self):
        """{study: why its training must run, as `reason_to_train` says}."""
        return {study: self.reason_to_train(study) for study in self.studies}

    def reason_to_train(self, study):
        """Why 3_train must run, as `again` says it, or TOUCHED: there is no model, it is `retrain_days` old,
        of a later night, damaged or had too little history, or the notebook, its parameters, the source or a
        file that they name has changed; "" where it need not.
        """
        stored = self.root / "models" / study / "metrics.json"
        if not stored.exists():
            return "due"
        trained = day_in(read_json(stored).get("day"))
        if trained is None:
            return f"models/{study}/metrics.json cannot be read"
        run = read_run(
            self.root / "reports" / str(trained + (self.day - self.day_of(study))), study, "3_train"
        )
        # those of 2_preprocess too: they may say which features there are
        named = [*self.read_beside(study, "2_preprocess"), *self.read_beside(study, "3_train")]
        source = read_json(self.root / "data/raw" / study / "status.json").get("source")
        if (
            not 0 <= (self.day_of(study) - trained).days < self.config.get("retrain_days", 7)
            or (
                run["given"]
                and run["given"] != as_json(self.parameters(study, "3_train") | {"day": str(trained)})
            )
            or (source is not None and source != masked(self.source(study)))
            or read_json(stored).get("too_little_history")  # one more day may be enough
        ):
            return "due"
        files = [notebook_of(study, "3_train"), *named]
        if max(Path(path).stat().st_mtime for path in files) > stored.stat().st_mtime:
            return TOUCHED
        return self.changed(run, "training", f"models/{study}/")

    def train_day(self, study):
        """Tonight when training must run, else the day of the stored model, so that the parameters of the
        rule stay the same.
        """
        return (
            str(self.day_of(study))
            if self.trains[study]
            else read_json(self.root / "models" / study / "metrics.json")["day"]
        )

    # ------------------------------------------------------------------------------------ what must run again

    def changed(self, run, maker, below=""):
        """Which products of a `run` are no longer as its `maker`, in words, left them, as `again` says it."""
        other = differing(self.root, run["products"], below)
        return (
            f"{named_few(other)} not as {maker} left {'it' if len(other) == 1 else 'them'}" if other else ""
        )

    def window_end(self, study):
        """Last day of the raw data of a study as text, by its status.json; "" where that is damaged, None
        where it says nothing of it.
        """
        window = read_json(self.root / "data/raw" / study / "status.json").get("window")
        return None if window is None else str(window[-1]) if isinstance(window, list) and window else ""

    def again(self, study, step):
        """Why a step must run whatever Snakemake remembers: "" where it need not, "due" for a reason that
        need not be printed, else words that name the product.
        """
        if step == "3_train":
            return self.trains[study]
        run = read_run(self.report, study, step)
        if run["outcome"] != "ok" or (
            run["given"] and run["given"] != as_json(self.step_parameters(study, step))
        ):
            return "due"
        if ended_in_future(run):
            return f"the record of {step} is dated in the future"
        if read_notebook(notebook_path(self.report, study, step)) is None:  # without it no page can be made
            return f"the executed notebook {step}.ipynb cannot be read"
        if step == "1_extract":
            status = read_json(self.root / "data/raw" / study / "status.json")
            if not status:
                return f"data/raw/{study}/status.json cannot be read"
            just_written = run["values"].get(JUST_WRITTEN, {})
            if any(size_and_time(path) != noted for path, noted in just_written.items()):
                return "due"
            if is_server(self.source(study)) and status.get("state") != "ok":  # it had not everything yet
                return "due"
            if not run["products"] and self.window_end(study) != str(self.day_of(study)):
                return f"data/raw/{study} is that of another night"
        return self.changed(run, step)

    def digest_again(self):
        """Why the digest must run, as `again`: also when a table of findings was written after it began."""
        run = read_run(self.report, "", "digest")
        if run["outcome"] != "ok" or (run["given"] and run["given"] != as_json(self.digest_parameters())):
            return "due"
        if ended_in_future(run):
            return "its record is dated in the future"
        if read_notebook(notebook_path(self.report, "", "digest")) is None:
            return "the executed notebook digest.ipynb cannot be read"
        ended = [
            read_run(self.report, study, step)["ended"]
            for study in self.studies
            for step in ("4_analyse", *extra_notebooks(study))
        ]
        if run["products"] and any(at > run["started"] for at in ended if at):
            return "due"
        return self.changed(run, "the digest")

    def sample_again(self):
        """Why the sample must be made again, as `again`; it is that of the last night that made one."""
        nights = sorted(self.root.glob("reports/????-??-??"), reverse=True)
        run = next(
            (read_run(night, "", "simulate") for night in nights if has_run(night, "", "simulate")), None
        )
        if run is None:
            return ""
        if run["outcome"] != "ok" or (run["given"] and run["given"] != as_json(self.parameters(""))):
            return "due"
        return self.changed(run, "the simulation")

    def outputs(self, target):
        """{(study, step): an output of its rule} of all rules that may have to run again for `target`, "all",
        "findings" (without mere pages) or "digest"; study "" has the sample.
        """
        if target == "digest":
            return {("", "digest"): f"data/incidents/{self.day}.parquet"}
        paths = (
            {("", "simulate"): "data/sample/truth.csv"} if "sample" in map(self.source, self.studies) else {}
        )
        for study in self.studies:
            steps = [one for one in steps_of(study) if target == "all" or not is_mere_page(study, one)]
            paths |= {(study, step): output_of(study, step) for step in steps}
        return paths

    def forced(self, target):
        """{output: reason} of all that must run again for `target`, as `again` says; a reason that is to be
        printed is a whole line.
        """
        reasons = {}
        for (study, step), path in self.outputs(target).items():
            of_all = {"digest": self.digest_again, "simulate": self.sample_again}
            reason = self.again(study, step) if study else of_all[step]()
            if reason and reason != TOUCHED:
                reasons[str(self.root / path)] = (
                    reason if reason == "due" else f"{study or step}: {reason}, so it is made again"
                )
        return reasons

    # ------------------------------------------------------------------------------------ findings of tonight

    def tables_of_tonight(self, study):
        """(tables of findings of tonight, those that are missing) of a study, by how its steps ended."""
        tables = {step: finding_tables(study, step) for step in (STEPS[-1], *extra_notebooks(study))}
        # as nightshift/reporting/studies.py has it
        of_tonight = self.window_end(study) in (None, str(self.day_of(study)))
        ended = steps_of_tonight(outcomes_of(self.report, study)) if of_tonight else []
        there = [name for step in tables if step in ended for name in tables[step]]
        return there, [name for step in tables if step not in ended for name in tables[step]]

    def digest_reads(self):
        """The files that the digest reads and whose changes start it again: incidents of earlier nights, the
        knowledge, the feedback and the silences of readers.
        """
        earlier = [
            path
            for path in sorted((self.root / "data/incidents").glob("*.parquet"))
            if path.name[:10] < str(self.day)
        ]
        feedback = sorted((self.root / "feedback").glob("*.csv"))
        feedback += [path for path in [self.root / SILENCES_FILE] if path.exists()]
        described = [os.path.relpath(path, REPOSITORY) for path in study_files()]
        named = self.named_files(DIGEST, self.config.get("digest") or {})
        return [*earlier, *feedback, *described, *named]

    def findings_seen(self):
        """[(path, moment it was written)] of the tables of findings of tonight; as inputs of the digest they
        would start failed studies once more.
        """
        paths = [
            self.root / f"data/findings/{name}.parquet"
            for study in self.studies
            for name in self.tables_of_tonight(study)[0]
        ]
        return [(str(path), path.stat().st_mtime_ns) for path in paths if path.exists()]

    def texts_of_sample(self):
        """The files that the simulation reads, its notebook first: a change of any makes the sample again."""
        texts = ["notebooks/tickets/phrases.yaml", "notebooks/tickets/osticket.sql", "sites.yaml"]
        return [SIMULATE, *texts, *files_of("nightshift/simulate/*.py")]


def has_run(report, study, step):
    """Whether a step ran on the night of `report`."""
    return record_path(report, study, step).exists() or notebook_path(report, study, step).exists()


def ended_in_future(run):
    """Whether the record of a `run` says that it ended later than now, as by a clock that was ahead: what
    comes after it would seem to be from before it.
    """
    try:
        ended = datetime.fromisoformat(run["ended"] or "")
    except ValueError:
        return False
    return (ended if ended.tzinfo else ended.replace(tzinfo=UTC)) > datetime.now(UTC)


def as_json(value):
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value, default=str))


def named_few(paths):
    """Paths as the subject of a sentence, with its verb: "a is", "a and b are", "a, b and 3 more are"."""
    if len(paths) == 1:
        return f"{paths[0]} is"
    return (
        f"{paths[0]} and {paths[1]} are"
        if len(paths) == 2
        else f"{paths[0]}, {paths[1]} and {len(paths) - 2} more are"
    )
