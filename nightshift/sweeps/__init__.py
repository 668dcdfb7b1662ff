"""Sweeps: one notebook run many times with other parameters, and the runs compared.

command     the commands `nightshift sweep` and `nightshift compare`
space       values of parameters, from the command line to points
search      points that Optuna asks for
plan        what a sweep is, its inputs and its folders
execute     runs, some at a time, by the runner of the night
runs        what one executed run tells
tables      results of runs, paired differences, learning curves
comparison  the page and the table of the terminal; charts, its pictures
tracking    results as runs of MLflow
"""


def results(folder):
    """Read the results of the sweep in `folder`: DataFrame with a row per run and model.

    Columns: `run`, `outcome`, `error`, `seconds`, every parameter by its name, then those of metrics.json:
    `model`, `metric`, `value`, `baseline_name`, `baseline`, `skill`, `skill_low`, `skill_high`, `n_train`,
    `n_test`, `split`, `in_use` and so on. A run without metrics has one row with what its notebook recorded.
    ValueError where the folder holds no sweep.
    """
    # statistics and pictures take seconds to import, which a refused command need not wait for
    from nightshift.sweeps.plan import read_sweep
    from nightshift.sweeps.runs import runs_of_sweep
    from nightshift.sweeps.tables import results_of

    sweep = read_sweep(folder)
    if sweep is None:
        raise ValueError(f"{folder} holds no sweep")
    return results_of(runs_of_sweep(sweep))
