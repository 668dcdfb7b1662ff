"""README.md and docs/ say what the repository has: links, configurations, exit codes, modules."""

import re

import pytest
import yaml
from conftest import REPOSITORY
from docs_examples import examples, settings

from nightshift import catalog, cli, night
from nightshift.config import load

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def headings(path):
    """The anchors of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_every_page_of_docs_is_linked_from_the_readme():
    text = PAGES[0].read_text()
    assert all(f"](docs/{page.name})" in text for page in PAGES[1:])


def test_the_readme_fits_on_a_screen():
    prose = re.sub(r"^(\|| {4}).*$|^```.*?^```$", "", PAGES[0].read_text(), flags=re.M | re.S).split()
    assert len(prose) <= 450


def test_every_configuration_of_the_sources_passes_the_check(tmp_path):
    examples(tmp_path)
    studies = set()
    for number, text in enumerate(settings(tmp_path)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        studies |= set(load(path)["studies"])
    assert studies == set(catalog.studies())


def test_the_settings_that_operations_shows_pass_the_check_together(tmp_path):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (REPOSITORY / "docs/operations.md").read_text(), re.M | re.S)
    path = tmp_path / "site.yaml"
    without_digest = re.sub(r"^digest:.*\n( .*\n)*", "", (REPOSITORY / "config.yaml").read_text(), flags=re.M)
    path.write_text(without_digest.replace('\nsite_url: ""', "\n") + "\n".join(blocks))
    config = load(path)
    assert (len(blocks), len(config["digest"]["silences"]), len(config["mail"]["to"])) == (3, 3, 2)
    assert (len(config["webhooks"]["to"]), len(config["alertmanager"]["to"])) == (2, 1)


def test_operations_lists_the_settings_of_the_uppermost_level():
    section = (REPOSITORY / "docs/operations.md").read_text().partition("## Settings of the whole run")[2].partition("\n## ")[0]
    rows = {name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert rows | {"studies"} == set(yaml.safe_load((REPOSITORY / "config.yaml").read_text())) | {"mail", "webhooks", "alertmanager"}


def test_the_exit_codes_are_those_of_the_command():
    section = (REPOSITORY / "docs/operations.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    meanings = {int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M)}
    assert list(meanings) == [night.WELL, night.FAILED, night.WRONG, night.LOCKED]
    for code, meaning in re.findall(r"(\d) ([^;.]+)", cli.CODES):
        assert all(word in meanings[int(code)] for word in re.findall(r"[a-z]{4,}", meaning)), (code, meaning)


@pytest.mark.parametrize("name", ["architecture", "adding"])
def test_every_file_that_is_named_exists(name):
    text = (REPOSITORY / f"docs/{name}.md").read_text()
    named = set(re.findall(r"`((?:nightshift|notebooks|tests)/[\w./]*)`", text))
    assert len(named) > 5
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


def test_the_modules_that_no_folder_stands_for_are_in_the_architecture():
    text = (REPOSITORY / "docs/architecture.md").read_text()
    modules = [path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "nightshift").glob("[!_]*.py")]
    folders = [f"nightshift/{path.parent.name}/" for path in (REPOSITORY / "nightshift").glob("*/__init__.py")]
    assert [path for path in [*modules, *folders] if f"`{path}`" not in text] == []


def test_every_file_of_deploy_that_the_documents_name_exists():
    text = "".join(path.read_text() for path in sorted((REPOSITORY / "docs").glob("*.md")))
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", text)) - {"deploy/kubernetes/overlays/yours"}
    assert len(named) >= 6
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []
