"""Tables and figures of a training of the certification study."""

import numpy as np
import pandas as pd
import seaborn as sns

from nightshift.figures import label_lines

SPLITS = ["run and time", "random"]


def loss_table(fits):
    """Collect the losses of networks, one row per network and epoch in which it trained: DataFrame dataset,
    split, variant, seed, epoch, loss, validation_loss.
    """
    parts = [
        pd.DataFrame(
            {
                "dataset": fit.task.dataset,
                "split": fit.task.split,
                "variant": fit.method,
                "seed": fit.seed,
                "epoch": np.arange(1, len(fit.losses) + 1),
                "loss": fit.losses,
                "validation_loss": fit.validation_losses,
            }
        )
        for fit in fits
    ]
    return pd.concat(parts).dropna(ignore_index=True)


def area_table(results, order):
    """Write areas in words, with models down and datasets across: the mean over seeds by run and time, with
    its standard deviation, and in brackets the mean by the random split; "unknown" where there is none.

    results : DataFrame split, dataset, model, auc (experiments.parquet), of one kind of bad. order : models.
    """

    def in_words(auc):
        spread = f" ± {auc.std():.3f}" if len(auc) > 1 else ""
        return f"{auc.mean():.3f}{spread}"

    texts = results.groupby(["model", "dataset", "split"]).auc.agg(in_words)
    texts = texts.unstack("split").reindex(columns=SPLITS).astype(object).fillna("unknown")
    cells = texts["run and time"] + " (" + texts["random"].str.partition(" ")[0] + ")"
    wide = cells.unstack("dataset").reindex([model for model in order if model in texts.index])
    return wide.rename_axis(index="model", columns=None).reset_index()


def plot_areas(results, axes, *, datasets, order):
    """Draw the AUC of every model on both splits, with the range over seeds, one panel of `axes` per dataset.

    results : DataFrame split, dataset, model, auc, of one kind of bad. order : models.
    """
    for ax, name in zip(axes, datasets, strict=True):
        sns.pointplot(
            results[results.dataset == name],
            x="auc",
            y="model",
            hue="split",
            order=order,
            hue_order=SPLITS,
            errorbar=("pi", 100),
            linestyle="none",
            markers=["o", "D"],
            dodge=0.3,
            legend=name == datasets[-1],
            ax=ax,
        )
        ax.set(title=name, xlabel="", ylabel="")
    sns.move_legend(axes[-1], "upper left", bbox_to_anchor=(1, 1), title="")


def plot_losses(losses, axes, *, datasets, variants):
    """Draw the validation error of every variant by epoch, the mean over seeds, one panel of `axes` per
    dataset.

    losses : DataFrame dataset, variant, seed, epoch, validation_loss.
    """
    for ax, name in zip(axes, datasets, strict=True):
        of_set = losses[losses.dataset == name]
        means = of_set.pivot_table(index="epoch", columns="variant", values="validation_loss")
        for variant in means.columns.intersection(variants, sort=False):
            ax.plot(means[variant], label=variant)
        ax.set(title=name, yscale="log")
        label_lines(ax, size="x-small")


def method_table(models, *, serves, chosen):
    """List how good the methods are that competed: DataFrame method, AUC, skill with its interval, and use:
    which one was chosen, and serves.

    models : as `gate` gives them.
    """
    table = pd.DataFrame(models)[["name", "model", "skill", "skill_low", "skill_high"]]
    table["use"] = np.where(table.name == serves, "serves", np.where(table.name == chosen, "chosen", ""))
    names = {"name": "method", "model": "AUC", "skill_low": "low", "skill_high": "high"}
    return table.rename(columns=names)


def area_words(name, entry):
    """Say in part of a sentence how well a dataset alone tells bad lumisections from good ones.

    entry : what detector.json says of the dataset: auc_expert, auc_trivial, None where nothing measures it.
    """
    areas = {kind: entry[f"auc_{kind}"] for kind in ("expert", "trivial")}
    words = [f"{auc:.3f} for {kind}" for kind, auc in areas.items() if auc is not None]
    if not words:
        return f"{name} is measured by nothing"
    return f"{name} has an AUC of {' and '.join(words)} bad ones"


def dataset_words(detectors, used):
    """Say in part of a sentence how well each of the datasets `used` tells bad lumisections from good ones.

    detectors : {dataset: its entry of detector.json}.
    """
    if not used:
        return "In all of them good looks stranger than bad: nothing can be certified"
    return "; ".join(area_words(name, detectors[name]) for name in used)
