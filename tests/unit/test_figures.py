"""Figures show text from outside as it is written, wherever it stands, and logarithmic axes keep their numbers."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hostile import TEXTS
from matplotlib.colors import to_rgb
from matplotlib.text import Text

import helpers
from nightshift.figures import DOTS_PER_INCH, PlainNumbers, label_lines, plain_number, plain_text, save_figure, spread

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


def test_lines_are_named_at_their_ends_in_their_colours_and_no_name_hides_another():
    figure, ax = plt.subplots(figsize=(6, 3))
    for i, end in enumerate([5.0, 5.0, 5.01, 0.0, np.nan]):
        ax.plot([0, 1, 2], [1, end, np.nan], label=f"line {i}")
    ax.plot([0, 1], [9, 9])  # without a label
    label_lines(ax)
    figure.canvas.draw()
    texts = {text.get_text(): text for text in ax.texts}
    assert sorted(texts) == [f"line {i}" for i in range(5)], "the last one ends at its only point"
    for line in ax.lines[:4]:
        assert texts[line.get_label()].get_color() == line.get_color()
    boxes = sorted((text.get_window_extent() for text in texts.values()), key=lambda box: box.y0)
    assert all(above.y0 >= below.y1 - 1 for below, above in itertools.pairwise(boxes))
    assert boxes[0].y0 > ax.get_window_extent().y0 - 20
    plt.close(figure)


@pytest.mark.parametrize(
    ("at", "apart"),
    [([], []), ([0.1, 0.5], [0.1, 0.5]), ([0.1, 0.1, 0.15], [0.1, 0.2, 0.3]), ([0.95, 0.97, 1.0], [0.8, 0.9, 1.0])],
)
def test_positions_are_moved_apart_and_stay_inside(at, apart):
    assert spread(at, 0.1, 1.0) == pytest.approx(apart)


@pytest.mark.parametrize("layout", ["constrained", None])
def test_a_saved_figure_is_that_of_matplotlib_pixel_for_pixel(tmp_path, layout):
    def drawn():
        figure, axes = plt.subplots(1, 2, layout=layout, figsize=(6, 3))
        for ax, size in zip(axes, [1, 1e7], strict=True):
            ax.plot([0, size], label="a line beyond the axes")
            ax.set_title("a title that is too long for its axes", loc="left")
            label_lines(ax)
        return plain_text(figure)

    save_figure(drawn(), tmp_path / "ours.png")
    drawn().savefig(tmp_path / "theirs.png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_a_factor_of_all_numbers_stands_beside_the_title_and_not_in_it():
    figure, ax = plt.subplots()
    ax.plot([0, 2e7])
    title = ax.set_title("A claim", loc="left")
    plain_text(figure).canvas.draw()
    factor = ax.yaxis.get_offset_text()
    assert factor.get_text() == "1e7"
    assert not factor.get_window_extent().overlaps(title.get_window_extent())
    plt.close(figure)


def test_what_is_run_by_hand_is_saved_for_a_paper_too(tmp_path, monkeypatch):
    for by_hand in (False, True):
        if by_hand:
            monkeypatch.delenv("NIGHTSHIFT_RUN")
        _, ax = plt.subplots()
        ax.plot([0, 1], label="a")
        helpers.show_figure(ax, tmp_path / "f.png", "A claim", "x", "y")
        assert (tmp_path / "f.pdf").exists() is by_hand
    content = (tmp_path / "f.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content, "journals refuse it"


def test_the_style_is_that_of_the_file_and_its_first_colours_differ_for_the_colour_blind():
    """Machado, Oliveira & Fernandes (2009), the matrices of full severity, in linear RGB."""
    seen_by = {
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    colors = np.array([to_rgb(color) for color in plt.rcParams["axes.prop_cycle"].by_key()["color"][:4]])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for matrix in seen_by.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = [np.abs(a - b).sum() for a, b in itertools.combinations(seen, 2)]
        assert min(apart) > 0.25


def test_every_hostile_text_can_label_a_bar_and_none_is_a_formula(tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", lambda *arguments, **more: pytest.fail("a text was parsed"))
    drawn, draw = [], Text.draw
    monkeypatch.setattr(Text, "draw", lambda self, renderer: (drawn.append(self.get_text()), draw(self, renderer)))
    _, ax = plt.subplots(figsize=(4, 30))
    ax.barh([f"{n}: {text}" for n, text in enumerate(TEXTS)], 1)
    helpers.show_figure(ax, tmp_path / "f.png", "bars", "x", "y")
    assert {n for n in range(len(TEXTS)) if any(text.startswith(f"{n}: ") for text in drawn)} == set(range(len(TEXTS)))
