"""The packages that components need, as requirements for pip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points, version

from packaging.requirements import InvalidRequirement, Requirement

from saeviz.discovery.extensions import Extension
from saeviz.discovery.manager import Offer
from saeviz.discovery.metadata import GROUP, direct_url
from saeviz.discovery.sources import Source


def requirements_of(offers: Iterable[Offer], extensions: Iterable[Extension] = ()) -> list[str]:
    """A line for each package, as it is installed here; what no index has is a comment, or has its address.

    Those of all `extensions` that work are among them: only the files of an SAE say which format it needs.
    """
    extras: set[str] = set()
    packages: dict[str, Requirement] = {}
    comments: dict[str, None] = {}
    for offer in offers:
        for requirement in _installs(offer):
            if requirement.name == "saeviz":
                extras |= requirement.extras
            else:
                packages.setdefault(requirement.name, requirement).extras |= requirement.extras
        if not offer.source.bundled and (dist := distribution_of(offer.source)) is not None:
            packages.setdefault(dist.name, Requirement(dist.name))
        elif not offer.source.bundled:
            comments[f"# {offer.source.origin} is no package: it has to be there"] = None
    for extension in extensions:
        if extension.package is not None and not extension.reason:
            packages.setdefault(extension.package, Requirement(extension.package))
    own = Requirement(f"saeviz[{','.join(sorted(extras))}]" if extras else "saeviz")
    return [*comments, _pinned(own), *(_pinned(packages[name]) for name in sorted(packages))]


def distribution_of(source: Source) -> Distribution | None:
    """The distribution that a plugin was installed with; None for a file or a module."""
    found = (one for one in entry_points(group=GROUP) if one.name == source.name and one.dist is not None)
    return next(
        (one.dist for one in found if one.dist and source.origin == f"{one.dist.name} {one.dist.version}"), None
    )


def _installs(offer: Offer) -> Iterator[Requirement]:
    """What a spec says is to be installed for its needs."""
    for text in (offer.spec.install,) if offer.spec.needs and offer.spec.install else ():
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue  # more than one, or options of pip


def _pinned(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    name = f"{requirement.name}{extras}"
    try:
        dist = distribution(requirement.name)
    except PackageNotFoundError:
        return str(requirement)
    source = direct_url(dist)
    url, vcs = source.get("url"), source.get("vcs_info")
    if isinstance(url, str) and isinstance(vcs, dict):
        return f"{name} @ {vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    if isinstance(url, str) and "archive_info" in source:
        return f"{name} @ {url}"
    is_folder = isinstance(url, str) and url.startswith("file:")
    return f"{name}=={version(requirement.name)}" + (f"  # here installed from {url}" if is_folder else "")
