"""Bad configurations, a kind each: all are refused before anything runs, by one clear line with the path of the setting."""

import re
import subprocess

import pytest
from conftest import REPOSITORY

from nightshift.config import ConfigError, load

DAY = "day: 2026-01-31\n"
HEAD = f"{DAY}studies:\n  certification:\n    extract: {{source: sample}}\n"
TRAIN = "studies.certification.train"
SENDER = "mail: {from: a@example.org, server: 'smtps://mail.example.org', to: [{address: b@example.org}]"


def source(study, text):
    """A configuration of one study whose source is `text`, as YAML has it in quotes."""
    return f'{DAY}studies:\n  {study}:\n    extract: {{source: "{text}"}}\n'


TOP = {  # what stands above a good configuration: the line that says what is wrong
    # forms that would make or run something
    "simulate: !!python/object/apply:os.getcwd []": r"simulate has the tag '\S+python/object/apply:os.getcwd': plain values",
    "simulate: !!python/object:datetime.date {}": "simulate has the tag",
    "site_url: !!python/name:os.getcwd": "site_url has the tag",
    "site_url: !!python/module:os": "site_url has the tag",
    "keep_nights: !!python/int 3": "keep_nights has the tag",
    "products: !env HOME": "products has the tag '!env'",
    "products: !!binary aGk=": "products has the tag",
    "digest: !!set {a}": "digest has the tag",
    "digest: !!omap [a: 1]": "digest has the tag",
    "site_url: !!timestamp x": "site_url has the tag",
    "products: !!bool x": "products has the tag",
    "digest: {silences: [!!str x]}": r"digest.silences\[0\] has the tag",
    "!!str products: x": "the configuration: the name 'products' on line 1 has a tag",
    # names
    "alarm_rate: 0.1\nalarm_rate: 0.2": "alarm_rate is given twice, on line 1 and on line 2",
    "simulate: {<<: {seed: 3}, <<: {seed: 4}}": "simulate.<< is given twice",
    "? [a, b]\n: 3": "the configuration: a name on line 1 is no text",
    "alarm_rat: 0.1": "unknown setting 'alarm_rat'; the nearest is alarm_rate",
    "no: 3": 'the configuration: the name no is read as False by YAML: write "no"',
    '"da\\ey": 3': r"the configuration: the name 'da\\x1by' on line 1 has .* nobody can see",
    # aliases
    "digest: &a {silences: *a}": "an alias on line 1 refers to what it is in",
    "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)): (
        "the aliases of the file make 490,329,074 values of it"
    ),
    f"digest: {'[' * 60}{']' * 60}": "more than 40 lists or mappings in each other",
    "digest: *nothing": "cannot be read: found undefined alias",
    # what nobody can see
    'products: "a\\0b"': r"products holds U\+0000 at character 2, which nobody can see",
    'site_url: "https://host/\\x07"': r"site_url holds U\+0007 at character 14",
    'products: "a\\x9b"': r"products holds U\+009B",
    'products: "a\\u202Eb"': r"products holds U\+202E \(right-to-left override\)",
    'products: "\\uD800"': r"products holds U\+D800",
    "products: a\x1bb": "cannot be read: unacceptable character #x001b",
    # the folder of products
    "products: $HOME/x": r"products is '\$HOME/x': variables of a shell are not replaced",
    "products: $(id)": "products is .* variables of a shell",
    "products: '`id`'": "products is .* variables of a shell",
    'products: "%USERPROFILE%/x"': "products is .* variables of a shell",
    "products: '{a}'": "products is .* braces",
    "products: README.md": "products is 'README.md': .* is no folder",
    "products: README.md/x": "products is 'README.md/x': .* is no folder",
    "products: ~nobodyhere/x": "products is '~nobodyhere/x': ",
    "products: https://host/x": "products is .* path of a folder",
    "products: 'a*'": "products is .* path of a folder",
    'products: "a\\nb"': "products is 'a b': .* without ends of lines",
    f"products: {'x' * 300}": "products is .*File name too long",
    "products: [a]": "products is .*: it must be a path",
    "products: no": "products is False: it must be a path",
    # numbers
    "alarm_rate: 0": "alarm_rate is 0: it must be a number above 0 and below 1",
    "alarm_rate: .nan": "alarm_rate is nan",
    "alarm_rate: 1e400": "alarm_rate is inf",
    "alarm_rate: 0,5": "alarm_rate is '0,5'",
    "alarm_rate: 5%": "alarm_rate is '5%'",
    "false_discovery_rate: yes": "false_discovery_rate is True",
    "retrain_days: -1": "retrain_days is -1",
    "keep_nights: -1": "keep_nights is -1",
    "keep_nights: all": "keep_nights is 'all'",
    "keep_nights: 1.5": "keep_nights is 1.5",
    f"keep_nights: {'9' * 5000}": "cannot be read: Exceeds the limit",
    # the site, the mail, the digest, the sample
    "site_url: javascript:alert(1)": "site_url is 'javascript:alert",
    "site_url: https://me:pw@host/": "site_url is .* without a password",
    "site_url: https://host/?token=x": "site_url is .* question mark",
    'site_url: https://host/"><b>': "site_url is ",
    f"{SENDER}, colour: red}}": "mail: unknown setting 'colour'",
    f"{SENDER.replace('a@example.org', 'a')}}}": "mail.from: 'a' is no mail address",
    SENDER.replace("a@example.org", '"a@example.org\\nBcc: c@example.org"') + "}": "mail.from: .* is no mail address",
    f"{SENDER.replace('smtps://', 'http://')}}}": "mail.server is 'http:",
    f"{SENDER.replace('smtps://', 'smtps://me:pw@')}}}": "mail.server holds a user or a password",
    f"{SENDER.replace('mail.example.org', 'mail:99999')}}}": "mail.server is ",
    "mail: [a]": "mail must be a mapping",
    "digest: {silences: [{study: x, as: silenced, by: a, until: someday, why: b}]}": r"digest.silences\[0\].until is 'someday'",
    "digest: {nights: {}}": "digest: nights is found by the chain",
    "simulate: {day: 2999-01-01}": "simulate.day is 2999-01-01, in the future",
}
OTHER = {  # a whole file
    "day: '2026-01-31; id'\n" + HEAD.removeprefix(DAY): "day is '2026-01-31; id': it must be a date",
    "day: 2999-01-01\n" + HEAD.removeprefix(DAY): "day is 2999-01-01, in the future",
    "day: 0001-01-01\n" + HEAD.removeprefix(DAY): "day is 0001-01-01: no night is earlier",
    f"{HEAD}---\n{HEAD}": "cannot be read: expected a single document",
    f"%YAML 3.0\n---\n{HEAD}": "cannot be read: found incompatible YAML document",
    f"{HEAD}mail: {{": "cannot be read: while parsing a flow node",
    HEAD.encode("utf-16"): "cannot be read: 'utf-8' codec can't decode",
    "- a": "is no mapping of settings",
    f"{DAY}studies: [certification]": "the configuration names no study",
    f"{DAY}studies: {{tranfers: {{}}}}": "unknown study 'tranfers'; .*the nearest is transfers",
    f"{HEAD}    trian: {{}}\n": "unknown step 'trian' of certification",
    f"{HEAD}    train: {{epoch: 3}}\n": f"{TRAIN}: .* declares no parameter 'epoch'",
    f"{HEAD}    train: {{epochs: many}}\n": f"{TRAIN}.epochs is 'many': it must be a whole number",
    f"{HEAD}    train: {{epochs: 1{'0' * 400}}}\n": f"{TRAIN}.epochs is 1000",
    f"{HEAD}    train: {{seeds: [3, .inf]}}\n": rf"{TRAIN}.seeds\[1\] is inf",
    f"{HEAD}    train: {{products: x}}\n": f"{TRAIN}.products cannot be set here",
    source("transfers", ""): "studies.transfers.extract.source is empty",
    source("transfers", "a\\nb"): "studies.transfers.extract.source is 'a b': it must be one line",
    source("transfers", "https://me:pw@host/i"): "studies.transfers.extract.source is an address with a user or a password before its host",
    source("transfers", "https://host/i?user=a&password=pw"): "studies.transfers.extract.source is an address with a secret in its query",
    source("accounting", "https://host/api_key/0123abc/i"): "studies.accounting.extract.source is an address with a secret in its path",
    source("tickets", "mysql://me%3Apw%40host/desk"): "studies.tickets.extract.source is an address with a user or a password",
}
KINDS = {f"{above}\n{HEAD}": line for above, line in TOP.items()} | OTHER


@pytest.mark.parametrize(("text", "line"), KINDS.items(), ids=range(len(KINDS)))
def test_a_bad_configuration_is_refused_by_one_line_with_its_path(tmp_path, text, line):
    path = tmp_path / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        load(path)
    lines = [one for one in error.value.lines if not one.startswith("unknown setting 'a0'")]
    assert any(re.search(line, one) for one in lines), lines
    assert all(one.isprintable() and len(one) < 1000 and "pw" not in one for one in lines), lines


def test_there_are_80_kinds():
    assert len(KINDS) >= 80


def test_a_folder_whose_name_has_letters_of_a_shell_is_taken_as_it_is(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(f'products: "{tmp_path}/it\'s 100% #1; ok"\n{HEAD}')
    assert load(path)["products"] == f"{tmp_path}/it's 100% #1; ok"


def test_make_hands_a_day_to_the_command_whatever_letters_it_holds(tmp_path):
    """GNU make would paste it into the text of a shell."""
    (tmp_path / ".installed").touch()
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text('#!/bin/bash\nprintf "[%s]" "$@"\n')
    python.chmod(0o755)
    for day in ["2026-01-31'; touch x; '", '2026-01-31"; touch x; "', "`touch x`", "$$(touch x)", "a b"]:
        done = subprocess.run(
            ["make", "-s", "reports", f"ENV={tmp_path}", "-o", f"{tmp_path}/.installed", f"DAY={day}"],
            cwd=REPOSITORY, capture_output=True, text=True,
        )  # fmt: skip
        assert f"[--day][{day.replace('$$', '$')}]" in done.stdout, done
    assert not (REPOSITORY / "x").exists()
