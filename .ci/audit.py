"""Asks the package index for known vulnerabilities of every runtime dependency, direct and transitive.

Exit 1 where there is one. What could not be asked is named, with the reason, and never counted as audited. pip-audit
asks for the page of each version alone, which many mirrors do not keep; where it is missing, the page of the project
answers for its latest release, which is what a fresh install gets. The index is pip's own.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

SECONDS = 20.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"\bextra\s*==")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the index knows of an installed package: `known` vulnerabilities, or why it could not be asked."""

    name: str
    version: str
    known: tuple[str, ...] = ()
    unasked: str = ""


def closure(name: str) -> dict[str, str]:
    """Every package that an install of `name` brings, with its version; those of other platforms are not installed."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        for line in distribution(waiting.pop()).requires or ():
            match = _NAME.match(line)
            if match is None or _EXTRA.search(line):
                continue
            package = re.sub(r"[-_.]+", "-", match[0]).lower()
            try:
                version = distribution(package).version
            except PackageNotFoundError:
                continue
            if package not in found:
                found[package] = version
                waiting.append(package)
    return dict(sorted(found.items()))


def audit(packages: dict[str, str], index: str) -> Iterator[Finding]:
    """Ask about each package."""
    for name, version in packages.items():
        try:
            page = _page(f"{index}/{name}/{version}/json") or _page(f"{index}/{name}/json")
        except (OSError, ValueError) as error:
            yield Finding(name, version, unasked=str(getattr(error, "reason", error)))
            continue
        yield judge(name, version, page)


def judge(name: str, version: str, page: dict[str, object] | None) -> Finding:
    """What a page of the index says of a version."""
    if page is None:
        return Finding(name, version, unasked="the index has no page for it")
    info, known = page.get("info"), page.get("vulnerabilities")
    told = info.get("version") if isinstance(info, dict) else None
    if told != version:
        return Finding(name, version, unasked=f"the index only answers for its latest release, {told}")
    if not isinstance(known, list):
        return Finding(name, version, unasked="the index tells no vulnerabilities")
    return Finding(name, version, tuple(sorted(f"{one['id']}" for one in known if not one.get("withdrawn"))))


def _page(url: str) -> dict[str, object] | None:
    """A page of the index; None where there is none."""
    try:
        with urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the address is pip's own, with https
            page: dict[str, object] = json.load(answer)
            return page
    except HTTPError as error:
        if error.code == 404:
            return None
        raise URLError(f"the index answers {error.code}") from error


def report(findings: list[Finding]) -> int:
    """Print what was found, and how much of it was looked at; 1 where something is known."""
    bad = [one for one in findings if one.known]
    unasked = [one for one in findings if one.unasked]
    for one in bad:
        print(f"VULNERABLE: {one.name} {one.version}: {', '.join(one.known)}")
    for one in unasked:
        print(f"NOT AUDITED: {one.name} {one.version}: {one.unasked}")
    print(f"{len(findings) - len(unasked)} of {len(findings)} runtime dependencies audited, {len(bad)} vulnerable")
    return 1 if bad else 0


def main() -> int:
    """Audit what is installed beside this interpreter."""
    from pip._internal.models.index import PyPI

    return report(list(audit(closure("retouch"), PyPI.pypi_url)))


if __name__ == "__main__":
    sys.exit(main())
