"""The figure of the study of feedback."""

import numpy as np

from nightshift.remediation.worlds import BLOCK, N_FEEDBACKS, ORDERS

COLOURS = dict(zip(ORDERS, ["C3", "C1", "C2", "C0", "C4", "0.4", "0.7"], strict=True))
LABELS_APART = 0.025  # of the hit rate, so that no two labels lie on each other


def plot_orders(curves, ax, *, starts, bar):
    """Draw how well each order of proposals does over time, with its interval and its name at the end, and
    the bar that counts as good enough as a dashed line; returns `ax`.

    curves : {order: ndarray (blocks, 3)} of share, low, high. starts : first feedback of each block, ndarray
    (blocks,). bar : a share.
    """
    label_at = np.inf
    for order, curve in sorted(curves.items(), key=lambda item: -item[1][-1, 0]):
        label_at = min(curve[-1, 0], label_at - LABELS_APART)
        ax.plot(starts + BLOCK / 2, curve[:, 0], color=COLOURS[order])
        ax.fill_between(starts + BLOCK / 2, curve[:, 1], curve[:, 2], color=COLOURS[order], alpha=0.15, lw=0)
        ax.annotate(
            order, (N_FEEDBACKS - 10, label_at), color=COLOURS[order], va="center", annotation_clip=False
        )
    ax.axhline(bar, color="0.5", lw=0.8, ls="--")
    return ax
