"""The compiled requirements pin what the .in files require, in a form that every Python's own pip can install."""

import re
from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devtools import ROOT

FILES = ["requirements", "requirements-dev"]
every_file = pytest.mark.parametrize("file", FILES)


def required(file: str) -> list[Requirement]:
    """Return the requirements of an .in file, and of the one that it includes."""
    lines = (ROOT / f"{file}.in").read_text().splitlines()
    included = [line.removeprefix("-r ").removesuffix(".in") for line in lines if line.startswith("-r ")]
    own = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return [*own, *(requirement for name in included for requirement in required(name))]


def locked(file: str) -> list[tuple[Requirement, list[str]]]:
    """Return what a .txt file pins, with hashes; it may pin a package once for each of several Pythons."""
    text = (ROOT / f"{file}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.partition(" --hash=")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def pins(file: str) -> dict[str, Requirement]:
    """Return what a .txt file pins for the Python that runs the tests, by name."""
    here = [pin for pin, _ in locked(file) if pin.marker is None or pin.marker.evaluate()]
    found = {canonicalize_name(pin.name): pin for pin in here}
    assert len(found) == len(here)
    return found


def required_by(pin: Requirement) -> Iterator[Requirement]:
    """Yield what a package, with the extras of its pin, requires itself; nothing if it is not installed."""
    try:
        asked = [Requirement(line) for line in metadata.requires(pin.name) or []]
    except metadata.PackageNotFoundError:
        return
    for requirement in asked:
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *pin.extras)):
            yield requirement


@every_file
def test_a_requirement_with_an_extra_is_pinned_with_it(file: str) -> None:
    """Otherwise pip before 23.3, which Debian 12 and Python 3.11 include, says that it is not pinned at all."""
    pinned = pins(file)
    asked = [*required(file), *(each for pin in pinned.values() for each in required_by(pin))]

    lacking = [
        f"{each} is required, {pin} is pinned"
        for each in asked
        if (pin := pinned.get(canonicalize_name(each.name))) and each.extras - pin.extras
    ]
    assert lacking == []


def test_an_extra_that_a_package_requires_is_seen() -> None:
    """pytest-cov requires coverage[toml], so the test above has something to look at."""
    pytest_cov = pins("requirements-dev")["pytest-cov"]
    assert [each.extras for each in required_by(pytest_cov) if each.name == "coverage"] == [{"toml"}]


@every_file
def test_requirements_are_pinned_in_versions_that_satisfy_them(file: str) -> None:
    pinned = pins(file)
    pinned_as = [(asked, pinned.get(canonicalize_name(asked.name))) for asked in required(file)]
    assert [asked for asked, pin in pinned_as if not pin or not is_satisfied(asked, pin)] == []


def is_satisfied(asked: Requirement, pin: Requirement) -> bool:
    (version,) = pin.specifier
    return version.operator == "==" and asked.specifier.contains(version.version)


@every_file
def test_every_pin_has_hashes(file: str) -> None:
    assert [str(pin) for pin, hashes in locked(file) if not hashes] == []


def test_development_pins_what_the_service_runs_with() -> None:
    assert locked("requirements")
    assert [pin for pin in locked("requirements") if pin not in locked("requirements-dev")] == []


def test_every_package_of_the_service_is_listed_with_its_license() -> None:
    section = (ROOT / "docs/security.md").read_text().partition("## What it is built on")[2]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    listed = [canonicalize_name(name) for row in rows for name in row[0].removeprefix("| ").split(", ")]
    assert all(license for _, license, _ in rows)

    assert sorted(listed) == sorted({canonicalize_name(pin.name) for pin, _ in locked("requirements")})
