"""Make the folder of a new study from templates/study: notebooks that run as they are, on a CSV of values."""

import json
import keyword
import re
import shutil
from pathlib import Path

import yaml

from nightshift import catalog

TEMPLATE = Path(__file__).resolve().parents[1] / "templates/study"


def make_study(name, question=""):
    """Make notebooks/`name` and return its path; nothing is made of a ValueError, which says in a line what
    is wrong.

    question : what the study shall answer, which its pages begin with.
    """
    read_as = yaml.safe_load(name) if re.fullmatch("[a-z][a-z0-9]{0,39}", name) else None
    if read_as != name or keyword.iskeyword(name):  # YAML reads true, null and on as other things
        raise ValueError(f"{name!r} is no name for a study: small letters and digits only, such as power")
    others = [path.name for path in catalog.NOTEBOOKS.iterdir()]
    if clash := next((one for one in others if one.split(".")[0] == name), ""):
        raise ValueError(f"notebooks/{clash} is there already")
    folder = catalog.NOTEBOOKS / name
    question = question or "Which values are unusual, since when, and by how much?"
    values = {"__study__": name, "__Title__": name.capitalize(), "__question__": question}
    shutil.copytree(TEMPLATE, folder)
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for placeholder, value in values.items():
            quoted = json.dumps(value, ensure_ascii=False)  # a string of JSON is one of YAML, too
            in_yaml = quoted if placeholder == "__question__" else value
            text = text.replace(placeholder, quoted[1:-1] if path.suffix == ".ipynb" else in_yaml)
        path.write_text(text, encoding="utf-8")
    return folder
