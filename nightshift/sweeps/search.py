"""Points that Optuna chooses one after another, each by the results of the runs before.

The records of the runs serve as its storage: after a kill it is given those that are complete, and continues.
"""


class Search:
    """A search by Optuna for the highest skill. axes : [Axis]. model : whose skill counts, "" for the model
    in use. ValueError where Optuna is not installed.
    """

    def __init__(self, axes, *, model, seed):
        try:
            import optuna
        except ImportError:
            raise ValueError("Optuna is not installed: `pip install optuna`, or use --random") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna, self.model, self.seed = optuna, model, seed
        self.lists = {axis.name: list(axis.values) for axis in axes if not axis.spacing}
        self.spaces = {axis.name: distribution(axis, optuna.distributions) for axis in axes}
        self.asked = {}  # the trial of each run that was asked for and has not been answered

    def begin(self, n_runs):
        """Begin, or continue after `n_runs` runs, which enter the seed: with the same seed the sampler would
        choose the same first points again.
        """
        sampler = self.optuna.samplers.TPESampler(seed=self.seed + n_runs)
        self.study = self.optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self, run):
        """Choose the point, {name: value}, of the next run, which will be called `run`."""
        self.asked[run] = self.study.ask(self.spaces)
        chosen = self.asked[run].params.items()
        return {name: self.lists[name][value] if name in self.lists else value for name, value in chosen}

    def answer(self, run, point, models):
        """Let the search learn from a `run` that has ended, even if this process did not ask for it. point :
        of the run. models : of its metrics; where none has the skill, the run counts as failed.
        """
        skill, trial = skill_of(models, self.model), self.asked.pop(run, None)
        state = self.optuna.trial.TrialState
        if trial is not None:
            self.study.tell(trial, skill, state=state.COMPLETE if skill is not None else state.FAIL)
        elif skill is not None:
            params = {
                name: self.lists[name].index(value) if name in self.lists else value
                for name, value in point.items()
            }
            self.study.add_trial(
                self.optuna.trial.create_trial(params=params, distributions=self.spaces, value=skill)
            )


def distribution(axis, made):
    """Make the distribution of an `axis`, one of those in Optuna's module `made`; for a list of values, that
    of the positions in it, since a value may be a list itself, which Optuna does not take.
    """
    if not axis.spacing:
        return made.CategoricalDistribution(list(range(len(axis.values))))
    kind = made.IntDistribution if axis.whole else made.FloatDistribution
    low, high = (round(axis.low), round(axis.high)) if axis.whole else (axis.low, axis.high)
    return kind(low, high, log=axis.spacing == "log")


def skill_of(models, name):
    """Return the skill of the model `name`, or, where that is "", of the first one in use; None for none."""
    skills = [one["skill"] for one in models if (one["name"] == name if name else one["in_use"])]
    return skills[0] if skills else None
