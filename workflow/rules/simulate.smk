# The sample: what a grid would write down, for every study that has one.


rule simulate:
    input:
        NIGHT.texts_of_sample()[1:],
        notebook=SIMULATE,
    output:
        ROOT / "data/sample/truth.csv",
        [ROOT / "data/sample" / name for study in studies().values() for name in study.sample],
    log:
        REPORT / "simulate.log",
    params:
        **FIXED,
        study="",
        parameters=partial(parameters_of, step=""),
        later=[],
    priority: len(STEPS) + 1
    shell:
        RUN
