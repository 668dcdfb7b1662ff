"""What docs/sources.md prints: its example files and its configurations, for the tests that try them."""

import re

from conftest import REPOSITORY

TEXT = (REPOSITORY / "docs/sources.md").read_text()


def examples(folder):
    """Write the example files below `folder`, which stands for /data."""
    for name, content in re.findall(r"^File `/data/([^`]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", TEXT, re.M | re.S):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def settings(folder):
    """The configurations, each a whole YAML file as text, with `folder` in the place of /data."""
    return [text.replace("/data/", f"{folder}/") for text in re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)]
