"""Records that were rejected and are lost, in a sentence."""

import pandas as pd

from nightshift import losses
from nightshift.assurance import assure, verdict_of
from nightshift.losses import loss_sentence, report_losses
from nightshift.runs import recorded_verdict


def test_what_is_lost_is_said_with_its_numbers_and_what_is_only_a_copy_is_not():
    reasons = pd.Series(["unknown size"] * 15 + ["missing time"] * 5 + ["copy of another event"] * 50 + ["duplicate of 17"])
    sentence = loss_sentence(reasons, 100, "transfer events")
    assert sentence.startswith("20 of 100 transfer events (20%) could not be used, 15 of them for: unknown size;")
    assert loss_sentence(reasons, 200, "transfer events") == "", "a tenth is usual"
    assert loss_sentence(reasons[20:], 51, "transfer events") == ""
    assert loss_sentence(pd.Series([], dtype="str"), 0, "tickets") == ""


def test_a_study_that_lost_more_than_half_of_its_records_reassures_nobody(monkeypatch):
    recorded, warned = {}, []
    monkeypatch.setattr(losses, "record", recorded.__setitem__)
    monkeypatch.setattr(losses, "warn", warned.append)
    report_losses(pd.Series(["unknown size"] * 50), 100, "transfer events")
    assert (recorded, len(warned)) == ({}, 1)
    report_losses(pd.Series(["unknown size"] * 51), 100, "transfer events")
    assert recorded["verdict"] == "most records rejected"
    assert recorded["verdict_reason"] == warned[1]
    run, good = {"values": recorded}, {"values": {"verdict": "ok"}}
    assert recorded_verdict([run, good])[0] == recorded_verdict([good, run])[0] == recorded["verdict"]
    verdict = verdict_of(complete=True, state="ok", of_tonight=True, n_findings=0, n_judged=49, history=recorded["verdict"])
    night = assure({"transfers": verdict, "tickets": "ok"})
    assert night.headline(n_pressing=0) == "1 of 2 studies reported; nothing new is known of transfers (most records rejected)."
