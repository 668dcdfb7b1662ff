"""Words of Chinese, Japanese and Thai: what they are, what of them may be shown, and names inside of them."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from nightshift.analysis.tickets_texts import word_weights
from nightshift.detectors.tickets_embeddings import embed_words
from nightshift.detectors.tickets_names import keywords_of, shared_words
from nightshift.privacy import Names, Sites, common_words, dotted, fold, mask_names, name_words
from nightshift.unspaced import in_spaced_form, words_in

WORD = re.compile(r"[^\W_]+")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("无法登录", ["无法", "法登", "登录"]),
        ("GPU节点", ["GPU", "节点"]),
        ("サーバーに接続できません", ["サーバー", "に", "接続", "できません"]),
        ("เข้าระบบ", ["เข้า", "ข้าร", "าระ", "ระบ", "ะบบ"]),
        ("错", ["错"]),
        ("Cannot log in", ["Cannot", "log", "in"]),
        ("로그인 실패", ["로그인", "실패"]),
        ("", []),
    ],
)
def test_words_are_short_in_every_script(text, words):
    assert words_in(text, WORD) == words


def test_marks_leave_the_form_with_blanks():
    assert in_spaced_form("ssh无法登录!") == "ssh 无法 法登 登录 !"
    assert in_spaced_form("เข้าระบบ") == " เขา ขาร าระ ระบ ะบบ "
    assert in_spaced_form("plain") == "plain"


TOPICS = {
    "登录": ["无法登录集群", "登录失败", "今天登录失败了", "登录节点很慢", "昨天无法登录"],
    "作业": ["作业排队太久", "我的作业没有运行", "作业失败", "取消作业", "作业一直等待"],
}


def test_topics_of_chinese_tickets_are_named_by_words_and_not_by_sentences():
    texts = [text for of in TOPICS.values() for text in of]
    topic = np.repeat([0, 1], 5)
    counts, words = shared_words(texts, np.array([f"u{i}" for i in range(10)], object), min_group=5)
    assert sorted(words) == sorted(TOPICS)
    assert keywords_of(counts, words, topic=topic, n_topics=2) == [["登录"], ["作业"]]
    rows = pd.DataFrame({"ticket_id": range(10), "user": [f"u{i}" for i in range(10)], "subject": texts, "topic": topic})
    weights = word_weights(rows, "topic", names=[0, 1], min_group=5, glyphs={ord(letter) for letter in "登录作业"})
    assert {name: list(of) for name, of in weights.items()} == {0: ["登录"], 1: ["作业"]}


def test_tickets_that_share_words_are_near_each_other_without_a_language_model(tmp_path):
    texts = [text for of in TOPICS.values() for text in of]
    vectors = embed_words(texts, tmp_path / "words.skops")
    near = vectors @ vectors.T
    assert near[:5, :5].mean() > near[:5, 5:].mean() + 0.1


def test_only_words_of_enough_people_are_shown_of_a_sentence():
    texts = ["登录失败", "登录很慢", "无法登录", "登录不了", "秘密登录"]
    common = common_words(texts, list("abcde"), 5)
    assert common == {"登录"}
    assert [dotted(text, common, Sites({})) for text in texts] == ["登录…", "登录…", "…登录", "登录…", "…登录"]
    assert dotted("GPU登录", common | {"gpu"}, Sites({})) == "GPU登录"


def test_names_are_masked_inside_of_sentences():
    names = Names(name_words(["王小明", "ガルシア 健"], []))
    tally = Counter()
    assert mask_names("你好王小明老师", names, tally) == "你好name老师"
    assert mask_names("ガルシアさん", names, tally) == "nameさん"
    assert tally["name"] == 2
    assert mask_names("你好王小明老师", names) == "你好name老师"  # and nobody counts
    assert fold("ガルシア") != fold("カルシア")
