"""Make the folders of a new study from templates/study and templates/sources: notebooks that run as they are,
on a CSV of values, and the module that reads it.
"""

import json
import keyword
import re
import shutil
from pathlib import Path

import yaml

from nightshift import catalog

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
SOURCES = Path(__file__).resolve().parent / "sources"


def make_study(name, question=""):
    """Make notebooks/`name` and nightshift/sources/`name`, and return the path of the former. ValueError says
    in one line why there can be no study of this name, and then nothing is made.

    question : what the study shall answer; its pages begin with it.
    """
    read_as = yaml.safe_load(name) if re.fullmatch("[a-z][a-z0-9]{0,39}", name) else None
    if read_as != name or keyword.iskeyword(name):  # YAML reads true, null and on as other things
        raise ValueError(f"{name!r} is no name for a study: small letters and digits only, such as power")
    others = [path.name for path in catalog.NOTEBOOKS.iterdir()]
    if clash := next((one for one in others if one.split(".")[0] == name), ""):
        raise ValueError(f"notebooks/{clash} is there already")
    if clash := next((path.name for path in SOURCES.iterdir() if path.stem == name), ""):
        raise ValueError(f"nightshift/sources/{clash} is there already")
    folder = catalog.NOTEBOOKS / name
    question = question or "Which values are unusual, since when, and by how much?"
    values = {"__study__": name, "__Title__": name.capitalize(), "__question__": question}
    for template, target in (("study", folder), ("sources", SOURCES / name)):
        shutil.copytree(TEMPLATES / template, target, ignore=shutil.ignore_patterns("__pycache__"))
        for path in target.iterdir():
            fill(path, values)
    return folder


def fill(path, values):
    """Put `values`, {placeholder: text}, into the file `path`."""
    text = path.read_text(encoding="utf-8")
    for placeholder, value in values.items():
        quoted = json.dumps(value, ensure_ascii=False)  # a string of JSON is one of YAML, too
        in_yaml = quoted if placeholder == "__question__" else value
        text = text.replace(placeholder, quoted[1:-1] if path.suffix == ".ipynb" else in_yaml)
    path.write_text(text, encoding="utf-8")
