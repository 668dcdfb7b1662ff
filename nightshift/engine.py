"""How papermill runs notebooks in the chain: as always, but for how often it writes them."""

from papermill.engines import NBClientEngine, papermill_engines

NAME = "nightshift"  # of this engine, for papermill


class SavingSeldom(NBClientEngine):
    """An engine that writes the executed notebook when it begins and ends, and in between every
    `autosave_cell_every` seconds at most.

    papermill 2.7 writes it before and after each cell besides, with all figures so far: 15% of the time that
    a small sample takes.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        """Execute the notebook of `nb_man`, the execution manager of papermill."""
        save = nb_man.save

        def save_seldom(**values):
            if (nb_man.now() - nb_man.last_save_time).total_seconds() >= nb_man.autosave_cell_every:
                save(**values)

        nb_man.save = save_seldom
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **options)
        finally:
            nb_man.save = save  # papermill writes it now, however it ended


papermill_engines.register(NAME, SavingSeldom)
