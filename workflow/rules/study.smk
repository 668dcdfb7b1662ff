# The four steps of a study, one rule for each over all studies, and its extra notebooks.

# What each step reads and writes below ROOT. Clean tables and models are no outputs: Snakemake deletes outputs before a
# job and when it fails, but a clean table is kept and only brought up to date by what is new, and a failed retraining
# must not cost last week's model.
CHAIN = {
    "1_extract": {"reads": source_files, "writes": ["data/raw/{study}/status.json"]},
    "2_preprocess": {"reads": ROOT / "data/raw/{study}/status.json", "writes": ["data/clean/.{study}"]},
    "3_train": {"reads": train_reads, "writes": ["models/{study}/.trained"]},
    "4_analyse": {
        "reads": [ROOT / "data/clean/.{study}", ROOT / "models/{study}/.trained"],
        "writes": ["data/scores/{study}.parquet", "data/findings/{study}.parquet"],
    },
}

RULES = [(step, step, files) for step, files in CHAIN.items()]
for study, step in EXTRA:  # a rule of its own, for its study only
    paths = [f"data/findings/{table}.parquet" for table in finding_tables(study, step)] or [output_of(study, step)]
    writes = [path.replace(study, f"{{study,{re.escape(study)}}}", 1) for path in paths]
    reads = ROOT / output_of("{study}", study_of(study).extra_notebooks[step].reads)
    RULES.append((f"{study}_{step}", step, {"reads": reads, "writes": writes}))

for name, step, files in RULES:
    rule:
        name:
            name
        input:
            files["reads"],
            lambda wildcards, step=step: watched(NIGHT.read_beside(wildcards.study, step)),
            notebook=f"notebooks/{{study}}/{step}.ipynb",
            code=map(ancient, CODE_OF_STUDIES) if step == "3_train" else CODE_OF_STUDIES,
        output:
            [(touch if is_marker(path) else Path)(ROOT / path) for path in files["writes"]],
        log:
            REPORT / f"{{study}}/{step}.log",
        params:
            **FIXED,
            study=lambda wildcards: wildcards.study,
            parameters=partial(parameters_of, step=step),
            sees=partial(sees, step=step),
            later=partial(later, step=step),
        # Early steps first, so that no long training is left to run alone: reckoned from their times, five
        # studies on two cores need 200 s and not 240 in the worst order.
        priority: len(STEPS) - STEPS.index(step) if step in STEPS else 1
        shell:
            RUN
