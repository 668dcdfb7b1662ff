"""What the page of the digest shows beside sentences and tables: folded tables, pictures."""

from helpers import escape, show_sentence
from nightshift.wording import joined


def show_folded(title, table):
    """Show a table folded below its title, which is escaped."""
    from IPython.display import HTML, display

    content = table.to_html(index=False, border=0, na_rep="")
    display(HTML(f"<details><summary>{escape(title)}</summary>{content}</details>"))


def show_pictures(figures, sizes, *, root, max_mb, alt):
    """Show pictures of the studies that are there, unless the page would grow too heavy, and name those that
    are not on it; returns `sizes` with those that are shown now.

    figures : paths below the folder `root`. sizes : bytes of the pictures that the page has, {figure: bytes}.
    max_mb : what all of them may take, MB. alt : text for who cannot see them.
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
