"""What a run of a notebook leaves for programs: values that the notebook records, beside what it shows to people."""


MIME = "application/vnd.nightshift+json"


def record(name, value):
    """Record `value`, anything that JSON holds, under `name` in the record of this run; nothing is shown.

    Names that the reports read: `verdict` ("ok" or "too little history"), `verdict_reason` (one sentence), `warnings` (see `warn`).
    A name that is recorded twice keeps its last value.
    """
    from IPython.display import display

    display({MIME: {"name": name, "value": value}}, raw=True)


def warn(sentence):
    """Show `sentence`, one line of plain text, and add it to the warnings of this run: the front page, the mail and the shell repeat it."""
    from helpers import say

    say("**Warning:** {text}", text=sentence)
    record("warnings", sentence)


def recorded(notebook):
    """Values that the executed `notebook`, a dict, recorded: {name: value}; `warnings` is the list of all of them."""
    values = {"warnings": []}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            one = (output.get("data") or {}).get(MIME)
            if not isinstance(one, dict) or "name" not in one:
                continue
            if one["name"] == "warnings":
                values["warnings"].append(str(one["value"]))
            else:
                values[one["name"]] = one["value"]
    return values
