"""What somebody has silenced or acknowledged: entries of the configuration and of readers, and the incidents
that they hold for.
"""

import contextlib
import difflib
import re
from datetime import date
from fnmatch import translate
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from nightshift.products import sync
from nightshift.wording import joined
from nightshift.yaml_files import load_yaml

SILENCES_FILE = "feedback/silences.yaml"  # below the products folder
HEADER = "# Silences of readers, as the entries of digest.silences; to lift one, remove its line."
PATTERNS = ("study", "kind", "site", "entity")  # columns of findings that an entry may match


def as_text(value):
    """Return what YAML makes of a name, such as 7 or nothing, as text; lists and mappings as they are."""
    if value is None or isinstance(value, bool | list | dict):
        return "" if value is None else value
    return str(value).strip()


def as_day(value):
    """Return a day as text, such as 2026-03-31; ValueError for what is none."""
    return str(date.fromisoformat(str(value)))


Text = Annotated[str, BeforeValidator(as_text)]
Day = Annotated[str, BeforeValidator(as_day)]


class Silence(BaseModel):
    """One entry of `silences`: an incident, or patterns that all its findings match, and who wants it so."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    incident: Text = ""  # its id
    study: Text = ""  # patterns such as T2-*, whatever the case of their letters
    kind: Text = ""
    site: Text = ""
    entity: Text = ""
    silenced_as: Annotated[Literal["silenced", "acknowledged"], Field(alias="as")]
    by: Annotated[Text, Field(min_length=1)]
    until: Day  # the last day on which it holds
    why: Annotated[Text, Field(min_length=1)]

    @model_validator(mode="after")
    def names_something(self):
        """Refuse an entry that would hold for every incident."""
        if not any(getattr(self, name) for name in ("incident", *PATTERNS)):
            raise ValueError("names nothing")
        return self


KEYS = [field.alias or name for name, field in Silence.model_fields.items()]
NEEDED = {
    "as": "silenced or acknowledged",
    "until": "a date such as 2026-03-31",
    "silences": f"a list of entries, each with an incident or patterns of {', '.join(PATTERNS)}, "
    "and as, by, until, why",
}


def check_silences(entries, where="silences"):
    """Check the entries of a configuration: (list of Silence, lines of what is wrong, each with its path).

    entries : a list, or None for an empty one. where : the path of the list.
    """
    try:
        return TypeAdapter(list[Silence]).validate_python([] if entries is None else entries), []
    except ValidationError as error:
        return [], list(dict.fromkeys(_mistake(one, entries, where) for one in error.errors()))


def _mistake(error, entries, where):
    """Say in one line what pydantic has found wrong with `entries`."""
    place = [*error["loc"], None, None]
    position, key = place[:2]
    if position is None:
        return f"{where} is {_shown(entries)}: it must be {NEEDED['silences']}"
    path = f"{where}[{position}]"
    if error["type"] in ("extra_forbidden", "invalid_key"):  # a key that is no text, such as 7, is unknown
        nearest = difflib.get_close_matches(str(key), KEYS, 1, 0)[0]
        return f"{path} has an unknown {str(key)!r}; the nearest is {nearest}"
    if error["type"] == "missing":
        lacking = [name for name in KEYS[-4:] if name not in entries[position]]
        return f"{path} needs {', '.join(KEYS[-4:])}, and lacks {', '.join(lacking)}"
    if key is None:
        needed = f"an incident or patterns of {', '.join(PATTERNS)}"
        return f"{path} is {_shown(entries[position])}: it needs {needed}"
    value = entries[position][key]
    if error["type"] == "too_short":
        return f"{path}.{key} is empty: it must say {'who wants it so' if key == 'by' else 'for what reason'}"
    several = "one text; write one entry for each" if isinstance(value, list | dict) else "a text"
    return f"{path}.{key} is {_shown(value)}: it must be {NEEDED.get(key, several)}"


def _shown(value):
    """Return a value as one line of at most 80 characters."""
    return " ".join(repr(value).split())[:80]


def read_silences(entries):
    """Read the entries of a configuration as a table: DataFrame with the fields of Silence, one row each.

    No entry gives no row. ValueError has a line for each mistake.
    """
    from pandas import DataFrame  # here, since the configuration is checked without it

    silences, lines = check_silences(entries)
    if lines:
        raise ValueError("; ".join(lines))
    return DataFrame([one.model_dump() for one in silences], columns=list(Silence.model_fields), dtype=object)


def read_recorded(path, day):
    """Read what readers recorded in the YAML file at `path`: (entries that hold on `day`, date as text, the
    last one first; what is wrong with others, one line each). Without a file, there are none.
    """
    try:
        entries = list_at(path)
    except (ValueError, OSError) as error:
        return [], [f"{error}; no silence in {path.name} counts"]
    good, lines = [], []
    for number, entry in enumerate(entries):
        silences, wrong = check_silences([entry], "")
        good += silences
        lines += [
            f"A silence does not count: {path.name}{line.replace('[0]', f'[{number}]', 1)}" for line in wrong
        ]
    return [one.model_dump(by_alias=True) for one in reversed(good) if one.until >= day], lines


def list_at(path, name=""):
    """Read the list in the YAML file at `path`, empty where there is no file; ValueError where it holds no
    list. name : of the file in the error, by default that of `path`.
    """
    entries = load_yaml(path, name or path.name) if path.exists() else None
    if not isinstance(entries, list | None):
        raise ValueError(f"{name or path.name} is no list of entries")
    return entries or []


def record_silence(path, entry, newest=""):
    """Append an entry, as the configuration has them, to the YAML file at `path`; returns its Silence.

    newest : the newest night, date as text. The file is replaced as a whole, its other text kept, while other
    writers wait. ValueError in one line for an entry that is wrong or ends before the newest night, or a file
    to which no line can be added; the file then stays as it is.
    """
    from filelock import FileLock

    from helpers import atomic

    silences, lines = check_silences([entry], "")
    if lines:
        raise ValueError("; ".join(line.removeprefix("[0].") for line in lines))
    if silences[0].until < newest:
        raise ValueError(f"until is {silences[0].until}, which is before {newest}, the newest night")
    kept = silences[0].model_dump(by_alias=True, exclude_defaults=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")), atomic(path) as temporary:
        try:
            earlier = list_at(path)
            text = path.read_text(encoding="utf-8").rstrip("\n") if path.exists() else HEADER
            temporary.write_text(f"{text}\n- {_in_a_line(kept)}\n", encoding="utf-8")
            if list_at(temporary, path.name) != [*earlier, kept]:
                raise ValueError(f"{path.name} is no plain list, an entry a line")
            sync(temporary)  # before it takes the place of the file: whoever recorded it is told so
        except ValueError as error:
            raise ValueError(f"{error}; nothing was recorded") from None
    with contextlib.suppress(OSError):  # which not all file systems can do
        sync(path.parent)
    return silences[0]


def lift_silence(path, entry):
    """Remove the line of an entry from the YAML file at `path`; returns whether the entry had its own line.

    entry : a dict, as `record_silence` keeps it. The rest of the text stays, and other writers wait. A file
    that is no YAML list gives False, one that is no plain list, an entry a line, ValueError; both stay as
    they are.
    """
    from filelock import FileLock

    from helpers import atomic

    with FileLock(path.with_name(f".{path.name}.lock")):
        try:
            earlier = list_at(path)
        except ValueError:
            return False
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [number for number, line in enumerate(lines) if line == f"- {_in_a_line(entry)}"]
        if not found:
            return False
        del lines[found[-1]]
        earlier.reverse()
        earlier.remove(entry)
        with atomic(path) as temporary:
            temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
            if list_at(temporary, path.name) != earlier[::-1]:
                raise ValueError(f"{path.name} is no plain list, an entry a line; nothing was lifted")
    return True


def _in_a_line(entry):
    """Write a dict of texts as YAML in one line."""
    import yaml

    flow = {"default_flow_style": True, "sort_keys": False, "allow_unicode": True, "width": float("inf")}
    return yaml.safe_dump(entry, **flow).strip()


def apply_silences(incidents, findings, silences, day):
    """Set apart what is silenced or acknowledged.

    incidents, findings : of one night, joined by `incident`. silences : as `read_silences` gives them. day :
    the night, date as text; an entry holds up to and including its day `until`. Patterns hold for an incident
    if all its findings match; of several entries, the first counts.

    Returns (`incidents` with silenced_as, silenced_by, silenced_until, silenced_why, "" where none holds;
    `silences` with `used`, how many incidents each holds for).
    """
    columns = ["silenced_as", "silenced_by", "silenced_until", "silenced_why"]
    marked = incidents.assign(**dict.fromkeys(columns, ""))
    used = []
    for silence in silences.itertuples():
        held = holds_for(silence, marked, findings) & (silence.until >= day)
        used.append(int(held.sum()))
        first = held & (marked.silenced_as == "")
        marked.loc[first, columns] = [silence.silenced_as, silence.by, silence.until, silence.why]
    return marked, silences.assign(used=used)


def never_matched(entries, incidents, findings, day):
    """Return those of `entries`, of `apply_silences`, that hold for none of the `incidents` of earlier
    nights either, which may be a mistake in an id or a pattern.

    findings : of these incidents, joined by `incident`. day : the night, date as text.
    """
    _, tried = apply_silences(incidents, findings, entries.drop(columns="used"), day)
    return entries[tried.used == 0]


def reasons_of(entries):
    """Write why there are `entries`, and by whom: "“burn-in” of b", or "none"."""
    return joined(f"“{one.why}” of {one.by}" for one in entries.itertuples()) or "none"


def holds_for(silence, incidents, findings):
    """Return which incidents an entry matches, whatever its last day: Series of bool (n,)."""
    held = incidents.incident == silence.incident if silence.incident else incidents.incident.notna()
    patterns = {name: getattr(silence, name) for name in PATTERNS if getattr(silence, name)}
    if not patterns:
        return held
    fits = findings.incident.notna()
    for name, pattern in patterns.items():
        wanted = re.compile(translate(pattern.casefold()))
        fits &= (
            findings[name].map(lambda text, wanted=wanted: bool(wanted.match(text.casefold()))).astype(bool)
        )
    return held & incidents.incident.isin(set(findings.incident) - set(findings.incident[~fits]))
