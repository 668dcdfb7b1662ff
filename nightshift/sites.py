"""What people call the sites: the file sites.yaml, which the tickets and the digest read."""

from helpers import project_path
from nightshift.wording import fold_site
from nightshift.yaml_files import load_yaml


def read_sites(path):
    """{name, as `fold_site` gives it: site} from the YAML file `path` that maps each site to a list of
    its names; an empty path gives {}.

    A site is one of its own names. ValueError of one line for a file of another form, an empty one, or
    a name that two sites share; FileNotFoundError where there is no file.
    """
    if not path:
        return {}
    listed = load_yaml(project_path(path), path)
    fine = (
        isinstance(listed, dict)
        and listed
        and all(isinstance(site, str) and isinstance(names, list) for site, names in listed.items())
    )
    if not fine or not all(
        isinstance(name, str) and name.strip() for names in listed.values() for name in names
    ):
        raise ValueError(
            f"{path} must map each site to a list of its names, such as {{HARBOR-T2: [Harbor, harbour]}}"
        )
    sites = {}
    for site, names in listed.items():
        for name in [site, *names]:
            if sites.setdefault(fold_site(name), site) != site:
                raise ValueError(f"{path}: {name!r} names two sites, {sites[fold_site(name)]} and {site}")
    return sites
