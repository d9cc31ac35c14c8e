"""`saeviz new`: write a new plugin, as a package with tests or as a single file."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import click

from saeviz.api import choose_plugins
from saeviz.cli.common import say, tell
from saeviz.config.schema import LISTS
from saeviz.contract.specs import ROLES
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import installed
from saeviz.formats.files import explain_disk_errors, write_atomic
from saeviz.values.errors import ConfigError, ExitCode

LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "none")
TEMPLATES = files("saeviz.cli") / "templates" / "new"
"""What is written. `my-name`, `my_name`, `My` before a capital letter and `THE_...` are replaced."""
MAKES = {
    "images": """echo '{"file": "a.jpg", "ratings": {"calm": 5.5}}' > images.jsonl  # a line for each of your images""",
    "extractor": """python -c "from saeviz.testing import random_sae; random_sae('sae.pt', width=16)\"""",
}
"""The command that makes what a role's template reads."""
READS = {
    "images": " --set images.path=images.jsonl",
    "extractor": " --set extractor.saes.0=sae.pt --set labeler.use=metadata-terms",
}
"""The options that say so, and choose what else a trial needs: the demo's own labeler asks CLIP."""


@click.command()
@click.argument("role", type=click.Choice(list(ROLES)))
@click.argument("name")
@click.option("--file", "as_file", is_flag=True, help="Write a single file for --plugins instead of a package.")
@click.option("--license", "terms", type=click.Choice(LICENSES), default="MIT", help="License (default: MIT).")
def new(role: str, name: str, as_file: bool, terms: str) -> int:
    """Write a new plugin called NAME: a small, working component of a role, for you to change into your own."""
    _check_name(role, name)
    words = _words(role, name, terms)
    if as_file:
        path = Path(f"{words['saeviz_my_name']}.py")
        _write({path: _rendered(f"roles/{role}.py.txt", words)}, path)
        steps, use = [*_trial(role, name, f" --plugins ./{path}")], f"[plugins] with use = ['./{path}'], and "
    else:
        root = Path(f"saeviz-{name}")
        _write({root / path: text for path, text in _package(role, terms, words)}, root)
        steps, use = [f"cd {root}", "pip install -e '.[test]'", "pytest", *_trial(role, name)], ""
    tell("\n".join(["next:", *steps, f"and in the run file: {use}{words['THE_TABLE']} with use = {name!r}"]))
    return ExitCode.DONE


def _trial(role: str, name: str, plugins: str = "") -> list[str]:
    """The commands that try a component in a small run, by default on the first pictures of the demo."""
    table = next((f"'{table}=[{{use=\"{name}\"}}]'" for table, (of, _) in LISTS.items() if of == role), "")
    use = f"--set {table or f'{role}.use={name}'}{READS.get(role, '')}"
    return [*filter(None, [MAKES.get(role)]), f"saeviz demo --out runs/{name} --limit 60 {use}{plugins}"]


def _check_name(role: str, name: str) -> None:
    """Raise `ConfigError` for a name that a plugin, its package or its module cannot have."""
    if re.search(r"[/\\]|\.py$", name):
        raise ConfigError(f"{name!r} is a path; give a name, such as 'my-{role}', after changing to the folder")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        near = (
            re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower())
            .lstrip("-0123456789")
            .rstrip("-")
        )
        raise ConfigError(
            f"{name!r} is not a name for a plugin; use lower-case letters, digits and single hyphens, "
            f"beginning with a letter, such as '{near or f'my-{role}'}'"
        )
    if f"{name}-".startswith("saeviz-"):
        raise ConfigError(f"{name!r}: leave out 'saeviz'; the package is called saeviz-NAME anyway")
    if keyword.iskeyword(name):
        raise ConfigError(f"{name!r} is a keyword of Python; choose another name, such as '{name}-{role}'")
    taken = {source.name.replace("_", "-"): f"an installed plugin, {source}" for source in installed()}
    manager = Manager.discover(choose_plugins(None, []), strict=False)
    taken |= {other: f"the {of} of {offer.source}" for (of, other), offer in manager.offers.items() if of == role}
    if name in taken:
        raise ConfigError(f"{name!r} is taken by {taken[name]}; choose another name, such as 'my-{name}'")


def _words(role: str, name: str, terms: str) -> dict[str, str]:
    """What the templates leave open; a role's template says in its first line what it is."""
    first = _template(f"roles/{role}.py.txt").partition("\n")[0].removeprefix('"""The ').removesuffix('."""')
    kind, summary = first.split(" `my-name` for saeviz: ")
    tables = {of: f"[[{table}]]" for table, (of, _) in LISTS.items()}
    license_lines = f'license = "{terms}"\nlicense-files = ["LICENSE"]'
    return {
        "saeviz_my_name": f"saeviz_{name.replace('-', '_')}",
        "my_name": name.replace("-", "_"),
        "my-name": name,
        "My": "".join(part.capitalize() for part in name.split("-")),
        "THE_ROLE": f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        "THE_SUMMARY": summary,
        "THE_KEY": role,
        "THE_TRIAL": "\n".join(_trial(role, name)),
        "THE_TABLE": tables.get(role, f"[{role}]"),
        "THE_EXTRA": "[models]" if role == "extractor" else "",
        "THE_VERSION": ".".join(version("saeviz").split(".")[:2]),
        "THE_LICENSE": 'classifiers = ["Private :: Do Not Upload"]' if terms == "none" else license_lines,
    }


def _package(role: str, terms: str, words: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """Every file of the package and its text."""
    module = words["saeviz_my_name"]
    yield Path("pyproject.toml"), _rendered("pyproject.toml.txt", words)
    yield Path("README.md"), _rendered("README.md", words)
    if terms != "none":
        yield Path("LICENSE"), _rendered(f"licenses/{terms}.txt", words)
    yield Path(".gitignore"), "__pycache__/\n*.egg-info/\n.venv/\ndist/\nruns/\n"
    yield Path(".github", "workflows", "test.yml"), _rendered("workflow.yml", words)
    yield Path(module, "__init__.py"), _rendered(f"roles/{role}.py.txt", words)
    yield Path(module, "py.typed"), ""
    yield Path("tests", f"test_{words['my_name']}.py"), _rendered(f"tests/{role}.py.txt", words)


def _rendered(template: str, words: dict[str, str]) -> str:
    pattern = "|".join(rf"\b{word}(?=[A-Z])" if word == "My" else word for word in words)
    return re.sub(pattern, lambda found: words[found[0]], _template(template))


def _template(name: str) -> str:
    return TEMPLATES.joinpath(name).read_text(encoding="utf-8")


def _write(texts: dict[Path, str], root: Path) -> None:
    """Write new files, at `root` or in it."""
    with explain_disk_errors(root):
        if root.exists() or root.is_symlink():
            raise ConfigError(f"{root} already exists, and nothing is overwritten; choose another name or remove it")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text)
    for path in texts:
        say(path)
