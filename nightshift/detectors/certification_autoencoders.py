"""Autoencoders of lumisections: one small network in eight variants, many of which train at once.

Network    the layers, and the terms of the loss              autoencoder, terms_of
Many       what is common to all, one epoch of many at once   prepare, epoch_of, first_weights, fill_up
Training   groups of networks until they rest                 fit_group, groups_of, fit_networks
Result     errors of a trained network, a file to keep        network_errors, network_of
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from types import SimpleNamespace

os.environ.setdefault("KERAS_BACKEND", "jax")  # as in helpers.py, before Keras is there

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers, ops
from tqdm import tqdm

VARIANTS = {
    "vanilla": (0, 0, 0),
    "sparse": (1, 0, 0),
    "contractive": (0, 1, 0),
    "variational": (0, 0, 1),
    "sparse + contractive": (1, 1, 0),
    "sparse + variational": (1, 0, 1),
    "contractive + variational": (0, 1, 1),
    "all three": (1, 1, 1),
}  # times l1, contractive, variational


@dataclass(frozen=True)
class Training:
    """How networks are built and trained; the notebook `certification/3_train` explains each of these
    parameters. AssertionError for one that is out of its range.
    """

    widths: tuple  # of the layers down to the code
    epochs: int
    patience: int
    batch_size: int
    together: int
    learning_rate: float
    beta_1: float
    beta_2: float
    l1: float
    contractive: float
    variational: float

    def __post_init__(self):
        assert len(self.widths) > 1, (
            f"widths is {list(self.widths)}: there must be two at least, the last one that of the code"
        )
        assert min(self.epochs, self.patience, self.batch_size, self.together, *self.widths) > 0, (
            "epochs, patience, batch_size, together and widths must be at least 1"
        )


def variants_to_train(candidates, variants):
    """List the variants that are trained on both splits, in the order of VARIANTS: those that are asked for,
    and the candidates; all, where none is asked for. AssertionError for a name that is none.
    """
    for name, asked in (("candidates", candidates), ("variants", variants)):
        assert set(asked) <= set(VARIANTS), f"{name}: {asked} must be among {', '.join(VARIANTS)}"
    assert candidates, "candidates must name one at least"
    return [name for name in VARIANTS if not variants or name in {*variants, *candidates}]


# ---------------------------------------------------------------------------------------------------- network


def autoencoder(n_features, widths):
    """Build two networks of the same weights: (x, noise) -> (rebuilt, mean, log variance), to train, and
    x -> rebuilt by the mean of the code, to keep.

    x (B, n_features) in [0, 1]; noise and mean (B, widths[-1]). It squeezes a lumisection through a code of
    few numbers and rebuilds it, with PReLU between and a sigmoid at the end, after the public code of
    calzonelover/CMS_DC_ANOMALY (Pol et al., EPJ Web Conf. 214, 06008, 2019).
    """
    x, noise = keras.Input((n_features,)), keras.Input((widths[-1],))

    def bent(units):  # PReLU with the original's first slope
        return [layers.Dense(units), layers.PReLU(keras.initializers.Constant(0.1))]

    down = [one for units in widths[:-1] for one in bent(units)]
    up = [one for units in widths[-2::-1] for one in bent(units)]
    encode = keras.Sequential([keras.Input((n_features,)), *down])
    decode = keras.Sequential([keras.Input((widths[-1],)), *up])
    decode.add(layers.Dense(n_features, activation="sigmoid"))
    squeeze = keras.Sequential([keras.Input((encode.output_shape[-1],)), *bent(widths[-1])])
    spread = layers.Dense(widths[-1])
    mean, log_variance = squeeze(encode(x)), spread(encode(x))
    drawn = mean + noise * ops.exp(log_variance / 2)
    return keras.Model([x, noise], [decode(drawn), mean, log_variance]), keras.Model(x, decode(mean))


def terms_of(network, weights, x, *, noise, sign):
    """Compute the terms of the loss of a batch x (B, F): squared errors (B, F), sum of |weights|, slope and
    divergence of the code, both (B,).

    noise (B, code): standard normal, or 0 for the mean itself. sign (B, code): +1 or -1 at random. The slope
    is the squared Jacobian of the code (Rifai et al. 2011) on average over signs: the squared length of its
    product with one is a single backward pass (Hutchinson 1990), where the Jacobian has as many rows as the
    code has numbers. The divergence is that from a normal code (Kingma & Welling 2014).
    """
    (rebuilt, mean, log_variance), _ = network.stateless_call(weights, [], [x, noise])
    absolute = sum(jnp.abs(w).sum() for w in weights if w.ndim == 2)

    def code(batch):
        return network.stateless_call(weights, [], [batch, jnp.zeros_like(noise)])[0][1]

    _, pull_back = jax.vjp(code, x)
    slope = jnp.sum(pull_back(sign)[0] ** 2, axis=1)
    divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1, axis=1)
    return (rebuilt - x) ** 2, absolute, slope, divergence


# ------------------------------------------------------------------------------------------------------- many


def epoch_of(network, optimizer, *, n_code, contractive):
    """Compile one epoch of many networks: a function that returns (weights, slots, mean loss, validation
    error), each with the networks first.

    n_code : numbers of the code. contractive : whether any of them has that penalty, which costs the others
    a third of their time. The program trains one network after the other, so that the weights of one stay in
    the cache, and `scan` runs the batches of an epoch without returning to Python. The validation error is
    that of rebuilding alone, without penalties and noise, so that variants can be compared.
    """

    def loss(weights, factors, x, share, key):
        normal, coin = jax.random.split(key)
        noise = jax.random.normal(normal, (len(x), n_code)) * (factors[2] > 0)
        sign = jax.random.rademacher(coin, noise.shape, x.dtype)
        errors, absolute, slope, divergence = terms_of(network, weights, x, noise=noise, sign=sign)
        slope = slope.mean() if contractive else 0.0  # what nobody uses is not computed
        return jnp.mean(errors @ share) + factors @ jnp.stack([absolute, slope, divergence.mean()])

    def epoch(one, data):
        weights, slots, factors, key, order, check, of_task = one
        which, low, scale, share = of_task  # share (F,): 1 / features, 0 for those that only fill up

        def step(state, batch):
            x = (data[which, batch[0]] - low) * scale  # (B, F)
            value, slopes = jax.value_and_grad(loss)(state[0], factors, x, share, batch[1])
            return optimizer.stateless_apply(state[1], slopes, state[0]), value

        batches = order, jax.random.split(key, len(order))
        (weights, slots), values = jax.lax.scan(step, (weights, slots), batches)
        x = (data[which, jnp.maximum(check, 0)] - low) * scale  # -1 only fills up
        rebuilt = network.stateless_call(weights, [], [x, jnp.zeros((len(x), n_code))])[0][0]
        error = ((rebuilt - x) ** 2 @ share) @ (check >= 0) / (check >= 0).sum()
        return weights, slots, values.mean(), error

    return jax.jit(lambda data, *networks: jax.lax.map(lambda one: epoch(one, data), networks))


@cache
def first_weights(n_features, widths, random_state):
    """Draw the first weights of a network, a list of arrays; the same for the same random_state."""
    keras.utils.set_random_seed(random_state)
    return [v.numpy() for v in autoencoder(n_features, widths)[0].trainable_variables]


def fill_up(arrays, fill=0):
    """Stack arrays (n_i,) or (n_i, F_i) as one (arrays, n) or (arrays, n, F), filled up at their ends."""
    shape = np.max([a.shape for a in arrays], axis=0)
    lacking = [[(0, size - n) for size, n in zip(shape, a.shape, strict=True)] for a in arrays]
    filled = [np.pad(a, ends, constant_values=fill) for a, ends in zip(arrays, lacking, strict=True)]
    return np.stack(filled)


def prepare(tables, tasks, *, training):
    """Gather what is common to all groups of networks: one network with room for every dataset, its
    optimiser, the compiled epoch, and the arrays of all tasks.

    tables : {dataset: float (n, F)}. tasks : list of `make_task` (see certification_training). training : a
    `Training`.
    """
    data = fill_up(list(tables.values()))  # (datasets, n, F)
    network = autoencoder(data.shape[2], training.widths)[0]
    optimizer = keras.optimizers.Adam(training.learning_rate, beta_1=training.beta_1, beta_2=training.beta_2)
    optimizer.build(network.trainable_variables)
    n_features = np.array([[len(one.low)] for one in tasks])
    share = (np.arange(data.shape[2]) < n_features) / n_features
    bounds = [fill_up([one.low for one in tasks]), fill_up([one.scale for one in tasks]), share]
    dataset = np.array([list(tables).index(one.dataset) for one in tasks])
    n_code = training.widths[-1]
    mean_code = np.zeros((data.shape[1], n_code), "float32")
    # the random split knows the newest runs: it must not set the pace
    longest = max(len(one.fit) for one in tasks if one.split != "random")

    def rebuild(weights, x):
        return network.stateless_call(weights, [], [x, mean_code])[0][0]

    return SimpleNamespace(
        tables=tables,
        tasks=tasks,
        training=training,
        data=jnp.asarray(data),
        optimizer=optimizer,
        epochs={has: epoch_of(network, optimizer, n_code=n_code, contractive=has) for has in (False, True)},
        of_task=[dataset, *[bound.astype("float32") for bound in bounds]],
        check=fill_up([one.check for one in tasks], -1),
        steps=-(-longest // training.batch_size),
        rebuild=jax.jit(rebuild),
    )


# --------------------------------------------------------------------------------------------------- training


def epoch_inputs(common, jobs, number):
    """Draw what the epoch `number` (from 0) of the networks of `jobs` needs: the order of their lumisections,
    int (networks, steps, batch), and their random keys; both depend on the seed alone.
    """
    size = (common.steps, common.training.batch_size)
    orders = [np.random.default_rng([s, number]).permutation(common.tasks[t].fit) for t, _, s in jobs]
    keys = [jax.random.fold_in(jax.random.key(s), number) for _, _, s in jobs]
    return np.stack([np.resize(rows, size) for rows in orders]), jnp.stack(keys)


def fit_group(common, jobs):
    """Train the networks of `jobs`, a list of (number of the task, variant, seed), at once: a list of
    SimpleNamespace task, method, seed, weights, losses and validation_losses, NaN after a network rests.

    common : as `prepare` gives it. A network keeps the weights of its best epoch and rests after `patience`
    epochs without a better one. A smaller dataset, or fold, goes through its rows more than once in what is
    an epoch of the largest, since all take the same number of steps.
    """
    of, variants, job_seeds = zip(*jobs, strict=True)
    training, n_features = common.training, common.data.shape[2]
    first = [first_weights(n_features, training.widths, s) for s in job_seeds]
    weights = [jnp.stack(same) for same in zip(*first, strict=True)]
    slots = [jnp.stack([v.value] * len(jobs)) for v in common.optimizer.variables]
    penalties = [training.l1, training.contractive, training.variational]
    factors = jnp.asarray(np.array([VARIANTS[name] for name in variants]) * penalties, "float32")
    epoch = common.epochs[any(map(is_contractive, variants))]
    fixed = common.check[list(of)], [a[list(of)] for a in common.of_task]
    best, least, since, history = weights, np.full(len(jobs), np.inf), np.zeros(len(jobs), int), []
    for number in range(training.epochs):
        order, keys = epoch_inputs(common, jobs, number)
        weights, slots, value, error = epoch(common.data, weights, slots, factors, keys, order, *fixed)
        trains = since < training.patience
        better = trains & (np.asarray(error) < least)
        best = [
            jnp.where(better.reshape(-1, *[1] * (w.ndim - 1)), w, b)
            for w, b in zip(weights, best, strict=True)
        ]
        least, since = np.where(better, error, least), np.where(better, 0, since + 1)
        history.append(np.where(trains, [value, error], np.nan))
        if (since >= training.patience).all():
            break
    best, history = [np.asarray(w) for w in best], np.array(history)  # (epochs, 2, networks)
    return [
        SimpleNamespace(
            task=common.tasks[t],
            method=name,
            seed=s,
            weights=[w[i] for w in best],
            losses=history[:, 0, i],
            validation_losses=history[:, 1, i],
        )
        for i, (t, name, s) in enumerate(jobs)
    ]


def is_contractive(variant):
    """Check whether a variant has the contractive penalty, the only one that takes much time."""
    return VARIANTS[variant][1] > 0


def groups_of(jobs, *, together, workers):
    """Cut jobs, (task, variant, seed), into groups that train at once: list of lists of their numbers.

    A group is either contractive or not; of either kind, all have the same size, at most `together`, and
    there are as many as keep the `workers` equally busy. The last ones are filled up with their last job.
    """
    of_kind = []
    for kind in (False, True):
        numbers = [i for i, (_, variant, _) in enumerate(jobs) if is_contractive(variant) == kind]
        n_groups = -(-len(numbers) // (together * workers)) * workers
        size = max(-(-len(numbers) // max(n_groups, 1)), 1)
        groups = [numbers[first : first + size] for first in range(0, len(numbers), size)]
        of_kind.append([group + group[-1:] * (size - len(group)) for group in groups])
    # in turn, so that the two programs compile at once
    return [group for pair in zip_longest(*of_kind, fillvalue=[]) for group in pair if group]


def fit_networks(common, jobs):
    """Train all networks of the jobs, as `fit_group` does, in groups of at most `together`, a group on each
    processor: list of fits in the order of the jobs. No job gives an empty list.
    """
    workers = len(os.sched_getaffinity(0))
    groups = groups_of(jobs, together=common.training.together, workers=workers)
    out = [None] * len(jobs)
    for _, _, s in jobs:  # kept from here on: to draw them sets the seed of all threads
        first_weights(common.data.shape[2], common.training.widths, s)
    with ThreadPoolExecutor(workers) as pool:  # threads will do: what is compiled runs outside of Python
        fits = pool.map(lambda group: fit_group(common, [jobs[i] for i in group]), groups)
        for group, done in zip(groups, tqdm(fits, "autoencoders", len(groups), unit="group"), strict=True):
            for i, fit in zip(group, done, strict=True):
                out[i] = fit
    return out


# ----------------------------------------------------------------------------------------------------- result


def network_errors(fit, common):
    """Compute the squared errors, float (n, F), of all rows of its dataset by a trained network."""
    one, n_features = fit.task, len(fit.task.low)
    x = (common.tables[one.dataset] - one.low) * one.scale
    room = np.zeros(common.data.shape[1:], "float32")
    rebuilt = np.asarray(common.rebuild(fit.weights, fill_up([x, room])[0]))
    return (rebuilt[: len(x), :n_features] - x) ** 2


def network_of(fit, widths):
    """Make of a trained network a Keras model, x -> rebuilt by the mean of the code, which loads anywhere."""
    to_train, to_keep = autoencoder(len(fit.task.low), widths)
    for variable, w in zip(to_train.trainable_variables, fit.weights, strict=True):
        variable.assign(
            w[tuple(slice(size) for size in variable.shape)]
        )  # without the room for wider datasets
    return to_keep
