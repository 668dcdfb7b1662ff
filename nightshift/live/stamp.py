"""Which night has left what scores transfers, if any has, found without the libraries that score."""


class NoNight(ValueError):
    """No night has left a model that could score; the text says in one line what is missing."""


def stamp_of(paths):
    """List what distinguishes one night from the next: sizes and times of the files that it leaves; empty
    where it is not complete.

    paths : as `study_paths` gives them.
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


def has_ended(stamp):
    """Whether a `stamp_of` is that of a night that has ended: its scores and its findings are not older than
    the model and the clean table of which they are made.
    """
    times = [time for _, time in stamp]
    return bool(times) and min(times[:2]) >= max(times[2:])


def check_night(paths):
    """Return `stamp_of` these paths; NoNight where no night has scored."""
    if stamp := stamp_of(paths):
        return stamp
    raise NoNight(f"{paths.root} holds no night whose transfers were scored: run `nightshift run` first")
