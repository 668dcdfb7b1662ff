"""Whether a night has left what scores transfers, and which one, without the libraries that score."""


class NoNight(ValueError):
    """There is no night whose model could score: one line that says what is missing."""


def stamp_of(paths):
    """What tells one night from the next: sizes and times of the files that it leaves; empty where it is
    not complete.

    paths : of `study_paths`.
    """
    files = [
        paths.findings,
        paths.scores,
        paths.encoders / "inputs.json",
        paths.clean / ".carried/made_of.json",
    ]
    try:
        return tuple((one.stat().st_size, one.stat().st_mtime_ns) for one in files)
    except FileNotFoundError:
        return ()


def check_night(paths):
    """Return `stamp_of` these paths; NoNight where no night has scored."""
    if stamp := stamp_of(paths):
        return stamp
    raise NoNight(f"{paths.root} holds no night whose transfers were scored: run `nightshift run` first")
