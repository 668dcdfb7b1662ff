"""Files of YAML that belong to the repository; the configuration has a reader of its own (config.py)."""

from pathlib import Path

import yaml


def load_yaml(path, name=""):
    """Read the YAML file at `path`; an empty one is None.

    ValueError of one line for what is no YAML in UTF-8, in which the file is called `name`, by default its
    path. FileNotFoundError where there is none.
    """
    try:
        # the loader in C takes a tenth of the time of the other
        return yaml.load(Path(path).read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name or path} is no YAML: {' '.join(str(error).split())}") from None
