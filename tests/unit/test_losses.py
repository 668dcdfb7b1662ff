"""Records that were rejected and are lost, in a sentence."""

import pandas as pd

from nightshift.statistics import loss_sentence


def test_what_is_lost_is_said_with_its_numbers_and_what_is_only_a_copy_is_not():
    reasons = pd.Series(["unknown size"] * 15 + ["missing time"] * 5 + ["copy of another event"] * 50 + ["duplicate of 17"])
    sentence = loss_sentence(reasons, 100, "transfer events")
    assert sentence.startswith("20 of 100 transfer events (20%) could not be used, 15 of them for: unknown size;")
    assert loss_sentence(reasons, 200, "transfer events") == "", "a tenth is usual"
    assert loss_sentence(reasons[20:], 51, "transfer events") == ""
    assert loss_sentence(pd.Series([], dtype="str"), 0, "tickets") == ""
