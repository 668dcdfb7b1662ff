"""What the page of the digest shows besides sentences and tables: folded tables, pictures."""

from collections import defaultdict

from helpers import escape, show_sentence, show_table
from nightshift.wording import joined

MAX_FINDINGS = 15  # of one incident, with their evidence


def show_folded(title, table, none=""):
    """Show a table folded below its title, which is escaped; for an empty one show the sentence `none`, if
    any.
    """
    from IPython.display import HTML, display

    if not len(table):
        if none:
            show_sentence("{none}", none=none)
        return
    content = table.to_html(index=False, border=0, na_rep="")
    display(HTML(f"<details><summary>{escape(title)}</summary>{content}</details>"))


def show_evidence(findings):
    """Show the evidence of the first MAX_FINDINGS findings of an incident, and how many more there are."""
    columns = ["study", "kind", "entity", "evidence"]
    show_table(findings.assign(kind=findings.label)[columns].head(MAX_FINDINGS))
    if len(findings) > MAX_FINDINGS:
        show_sentence("And {n} further findings.", n=len(findings) - MAX_FINDINGS)


def split_pictures(findings):
    """Divide the pictures of findings into those of one incident and those of several: ({incident: list of
    pictures}, {picture: set of incidents}).

    findings : with incident and figure, which is "" for none.
    """
    of_picture = findings[findings.figure != ""].groupby("figure", sort=False).incident.agg(set)
    own, shared = defaultdict(list), {}
    for figure, names in of_picture.items():
        if len(names) == 1:
            own[next(iter(names))].append(figure)
        else:
            shared[figure] = names
    return own, shared


def show_pictures(figures, sizes, *, root, max_mb, alt):
    """Show those pictures that exist, as far as the page may grow, and name the others; returns `sizes` with
    those that are shown now.

    figures : paths below the folder `root`. sizes : bytes of the pictures that the page has, {figure: bytes}.
    max_mb : what all pictures of the page may take, MB. alt : text for readers who cannot see them.
    """
    from IPython.display import Image, display

    sizes = dict(sizes)
    for figure in figures:
        path = root / figure
        if path.is_file() and sum(sizes.values()) + path.stat().st_size <= 1e6 * max_mb:
            sizes[figure] = path.stat().st_size
            display(Image(path.read_bytes(), alt=alt))
    if lacking := [figure for figure in figures if figure not in sizes]:
        show_sentence("Pictures that are not on this page: {lacking}.", lacking=joined(lacking))
    return sizes


def show_shared_pictures(findings, incidents, sizes, *, root, max_mb):
    """Show the pictures that several incidents share, those of the highest rank first, each with the numbers
    of its incidents; returns `sizes` as `show_pictures` does.

    findings : with study, incident and figure. incidents : all of the night, with rank and shown; pictures of
    incidents none of which is shown are left out.
    """
    number_of = dict(zip(incidents.incident, incidents["rank"], strict=True))
    in_full = set(incidents.incident[incidents.shown])
    _, shared = split_pictures(findings)
    shared = {figure: names for figure, names in sorted(shared.items()) if names & in_full}
    for figure in sorted(shared, key=lambda one: min(number_of[name] for name in shared[one])):
        numbers = sorted(number_of[name] for name in shared[figure] & in_full)
        which = f"{'Incident' if len(numbers) == 1 else 'Incidents'} {joined(map(str, numbers))}"
        if others := len(shared[figure] - in_full):
            which += f", and {others} that {'is' if others == 1 else 'are'} not shown in full"
        studies = joined(sorted(set(findings.study[findings.figure == figure])))
        show_sentence("**{which}**, by {studies}:", which=which, studies=studies)
        alt = f"{studies}: {which[:1].lower()}{which[1:]}"
        sizes = show_pictures([figure], sizes, root=root, max_mb=max_mb, alt=alt)
    if not shared:
        show_sentence("No picture shows more than one incident.")
    return sizes
