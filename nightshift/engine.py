"""Papermill's engine as the chain uses it: its own, except that it saves the executed notebook less often."""

from papermill.engines import NBClientEngine, papermill_engines

NAME = "nightshift"  # of this engine, for papermill


class SavingSeldom(NBClientEngine):
    """An engine that saves the executed notebook when it begins and ends, and in between at most once in
    `autosave_cell_every` seconds.

    papermill 2.7 also saves it before and after each cell, with all figures so far: 15% of the time of a run
    on a small sample.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        """Execute the notebook of `nb_man`, papermill's execution manager."""
        save = nb_man.save

        def save_seldom(**values):
            if (nb_man.now() - nb_man.last_save_time).total_seconds() >= nb_man.autosave_cell_every:
                save(**values)

        nb_man.save = save_seldom
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **options)
        finally:
            nb_man.save = save  # papermill saves once more now, however the run ended


papermill_engines.register(NAME, SavingSeldom)
