"""Ask a server again when it does not answer."""

import tenacity

TRIES = 6


def patient(ask, retry_wait_s):
    """Return `ask` as a function that tries again after a TimeoutError, six times in all, and raises the last
    one.

    retry_wait_s : longest wait between two tries, seconds; waits are drawn at random and grow exponentially,
    so that many clients do not come back at once; None asks once.
    """
    if retry_wait_s is None:
        return ask
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TimeoutError),
        stop=tenacity.stop_after_attempt(TRIES),
        reraise=True,
        wait=tenacity.wait_random_exponential(1.0, max=retry_wait_s),
    ).wraps(ask)
