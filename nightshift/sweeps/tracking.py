"""The results of runs as runs of MLflow, where it is installed; its own environment variables say which
server gets them.
"""

from nightshift.wording import plural

TAG = "nightshift.run"  # by which runs that were logged before are recognised
NUMBERS = ("model", "baseline", "skill", "skill_low", "skill_high", "alarm_rate_observed")


def log_runs(runs):
    """Log each of `runs` that ended well and is not logged yet as a run of MLflow, in an experiment called
    after study and step; returns a sentence about it. ValueError where MLflow is not installed.
    """
    try:
        import mlflow
    except ImportError:
        raise ValueError("MLflow is not installed: pip install mlflow") from None
    experiment = f"nightshift {runs[0].study} {runs[0].step}"
    mlflow.set_experiment(experiment)
    there = mlflow.search_runs(experiment_names=[experiment], output_format="list")
    logged = {one.data.tags.get(TAG) for one in there}
    fresh = [run for run in runs if run.ending["outcome"] == "ok" and identity(run) not in logged]
    for run in fresh:
        log_run(mlflow, run)
    left_out = len(runs) - len(fresh)
    return (
        f"MLflow: {plural(len(fresh), 'run')} logged to the experiment {experiment!r}, {left_out} left out."
    )


def identity(run):
    """Identify one execution of a run among all others: its folder and its start, as text."""
    return f"{run.folder.resolve()} {run.ending['started']}"


def log_run(mlflow, run):
    """Log one run: its parameters, and of each model the numbers of its metrics as "<model>.<key>"."""
    with mlflow.start_run(run_name=run.name, tags={TAG: identity(run), "git": str(run.metrics.get("git"))}):
        mlflow.log_params(run.parameters)
        for one in run.models:
            values = {key: one.get(key) for key in NUMBERS}
            # MLflow takes letters, digits and a few marks in a name
            name = "".join(c if c.isalnum() or c in "_-. /" else "_" for c in one["name"])
            mlflow.log_metrics({f"{name}.{key}": value for key, value in values.items() if value is not None})
        mlflow.log_metric("seconds", run.ending["seconds"])
