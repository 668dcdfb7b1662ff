"""What the configuration says of a study that is followed between the nights."""

from nightshift.chain import Night
from nightshift.config import load, notebook_of
from nightshift.parameters import completed
from nightshift.products import expanded


def night_of_study(path, study):
    """The Night of the configuration at a Path; ValueError, with a line for each mistake, where the
    configuration is wrong or does not name the study.
    """
    night = Night(load(expanded(path).resolve()))
    if study not in night.studies:
        raise ValueError(f"{path} does not name the study {study}")
    return night


def all_parameters(night, study, step):
    """All parameters of a step, {name: value}: those of the Night over the declared defaults."""
    return completed(notebook_of(study, step), night.parameters(study, step))
