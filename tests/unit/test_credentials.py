"""Secrets in addresses are found wherever they stand, and what is shown of an address holds none."""

import json

import pytest

from nightshift.credentials import masked, secret_in
from nightshift.sources.base import live_source
from nightshift.status import write_status

TOKEN = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    ("address", "part", "shown"),
    [
        ("https://me:hidden@host:9200/index", "a user or a password before its host", "https://host:9200/index"),
        ("mysql://me%3Ahidden%40host/desk", "a user or a password before its host", "mysql://host/desk"),
        ("https://me:hid%2Fden@host/index", "a user or a password before its host", "https://host/index"),
        ("https://me:hid%3Fden@host/token/hidden", "a user or a password before its host", "https://host/..."),
        ("https://me:hid@den@host/index", "a user or a password before its host", "https://host/index"),
        ("https://me:hid?den@host/index", "", "https://host/index"),
        ("https://host/index?password=hidden", "a secret in its query", "https://host/index"),
        ("https://host/index?a=1&X-Amz-Signature=hidden", "a secret in its query", "https://host/index"),
        ("https://host/index?pwd=hidden", "a secret in its query", "https://host/index"),
        ("https://host/token/hidden/index", "a secret in its path", "https://host/.../index"),
        (f"https://host/{TOKEN}/index", "a secret in its path", "https://host/.../index"),
        ("https://host/auth/index/key/a", "", "https://host/auth/index/key/a"),
        ("https://host:9200/index-*?size=10#end", "", "https://host:9200/index-*"),
        ("/data/token/2026/*.csv", "", "/data/token/2026/*.csv"),
        ("sacct", "", "sacct"),
    ],
)
def test_secrets_of_an_address_are_named_by_their_place_and_not_shown(address, part, shown):
    assert (secret_in(address), masked(address)) == (part, shown)


def test_a_status_holds_no_secret_of_its_source_and_no_live_source_takes_one(tmp_path):
    write_status(tmp_path, state="ok", rows=0, newest=None, source=f"https://me:hidden@host/{TOKEN}/i?key=hidden", window=("a", "b"))
    assert json.loads((tmp_path / "status.json").read_text())["source"] == "https://host/.../i"
    with pytest.raises(ValueError, match="the source of transfers is an address with a secret in its query") as refused:
        live_source("transfers", "https://host/i?token=hidden", settings={})
    assert "hidden" not in str(refused.value)
