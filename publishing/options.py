"""Which night of which configuration a command is about: for publish.py and mail.py."""

from datetime import UTC, date, datetime
from pathlib import Path

import yaml

from helpers import resolve
from nightshift.config import Loader


def refuse_future(day):
    """Raise ValueError for a night, a date as text, that has not begun: what is published as of then would stand before every later night."""
    today = datetime.now(UTC).date()
    if date.fromisoformat(day) > today:
        raise ValueError(f"the night {day} has not begun: today is {today} (UTC)")


def read_options(parser, check):
    """(options, config, day, root of the products, what `check(config, day)` returns) of a command line with --config and --day.

    check : raises ValueError for settings that the command cannot use. Whatever is wrong ends the command with one line and code 2.
    """
    parser.add_argument("--config", default="config.yaml", type=Path)
    parser.add_argument("--day", help="night to work on; default: that of the configuration")
    options = parser.parse_args()
    try:
        config = yaml.load(options.config.read_text(encoding="utf-8"), Loader)  # numbers are those that the chain reads
        day, root = str(date.fromisoformat(options.day or str(config["day"]))), resolve(config.get("products") or "")
        refuse_future(day)
        return options, config, day, root, check(config, day)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        what = str(error) if type(error) is ValueError else f"it cannot be read: {type(error).__name__}: {error}"
        parser.exit(2, f"nightshift: {options.config}: {' '.join(what.split())}\n")
