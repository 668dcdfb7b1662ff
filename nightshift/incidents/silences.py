"""What somebody has silenced or acknowledged: entries of the configuration, and what they hold for."""

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

from nightshift.wording import joined

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
    if error["type"] == "extra_forbidden":
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
    for silence in silences.itertuples(index=False):
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
    """Return for which incidents an entry holds, whenever: bool (n,)."""
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
