"""Figures show text from outside as it is written, wherever it stands, and logarithmic axes keep their numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
from matplotlib.text import Text

import helpers
from nightshift.figures import PlainNumbers, plain_number, plain_text

HOSTILE = "$a_{ {x} $$ \\frac{<b> \\$ _^% #~&$"


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        (r"$\mathdefault{10^{-3}}$", "10⁻³"),
        (r"$\mathdefault{2\times10^{15}}$", "2\N{MULTIPLICATION SIGN}10¹⁵"),
        (r"$\mathdefault{-10^{0}}$", "-10⁰"),
        (r"$\mathdefault{1-10^{-2}}$", "1-10⁻²"),
        (r"$\mathdefault{\frac{1}{2}}$", "1/2"),
        (r"$\mathdefault{0}$", "0"),
        ("", ""),
    ],
)
def test_a_number_of_a_logarithmic_axis_in_plain_characters(markup, plain):
    assert plain_number(markup) == plain


def test_hostile_text_stays_text_wherever_it_stands_and_log_axes_keep_their_numbers(tmp_path, monkeypatch):
    """Every text that is drawn is taken down: nothing of it is a formula, and nothing of it differs from what was given."""
    drawn, draw = [], Text.draw
    monkeypatch.setattr(Text, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer)))
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", lambda *arguments, **more: pytest.fail("a text was parsed"))
    sns.set_theme(style="whitegrid")
    figure, axes = plt.subplots(1, 3, figsize=(30, 4))
    axes[0].plot([1, 1e5], [1e-3, 1e3], label=HOSTILE)
    axes[0].set(xscale="log", yscale="log", title=HOSTILE, xlabel=HOSTILE, ylabel=HOSTILE)
    axes[0].legend(title=HOSTILE)
    axes[0].annotate(HOSTILE, (1, 1))
    axes[1].barh([HOSTILE, "b"], [1, 2])
    axes[1].set_xticks([0, 1], [HOSTILE, "c"])
    axes[1].set_xlim(0, 3)
    mesh = axes[2].pcolormesh(np.array([[1, 10], [100, 1000]]), norm="log")
    figure.colorbar(mesh, ax=axes[2], label=HOSTILE)
    axes[2].set_xscale("symlog")
    twin = axes[2].twinx()
    twin.set(yscale="logit", ylim=(0.001, 0.999))
    figure.canvas.draw()  # as a notebook does that measures what it has drawn
    figure.tight_layout()
    drawn.clear()
    helpers.show_figure(axes, tmp_path / "f.png", HOSTILE, HOSTILE, HOSTILE)
    texts = [text.get_text() for text in drawn if text.get_visible()]
    assert sum(text == HOSTILE for text in texts) >= 10
    assert HOSTILE.replace("$", r"\$") in texts  # the title, which is wrapped: its backslashes are not shown
    assert {"10⁻³", "10³", "10⁰", "10⁵", "10²", "1-10⁻²", "1/2"} <= set(texts)
    assert not any("mathdefault" in text for text in texts)
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_a_long_title_with_dollars_is_wrapped_at_words_and_a_second_call_changes_nothing(tmp_path):
    figure, ax = plt.subplots(figsize=(4, 2))
    title = ax.set_title("costs $1 and $2 " * 8, loc="left", wrap=True)
    ax.set_yscale("log")
    for _ in range(2):
        plain_text(figure)
        assert title.get_text() == r"costs \$1 and \$2 " * 8
        assert isinstance(ax.yaxis.get_major_formatter(), PlainNumbers)
        assert not isinstance(ax.yaxis.get_major_formatter().numbers, PlainNumbers)
    figure.savefig(tmp_path / "f.png")
    assert len(title._get_wrapped_text().splitlines()) > 2
    plt.close(figure)
