"""The compiled requirements pin what was asked for, in a form that every Python's own pip can install."""

import re
from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devtools import ROOT

FILES = ["requirements", "requirements-dev"]
every_file = pytest.mark.parametrize("file", FILES)


def asked_for(file: str) -> list[Requirement]:
    """The requirements of an .in file, and of the one that it includes."""
    lines = (ROOT / f"{file}.in").read_text().splitlines()
    included = [line.removeprefix("-r ").removesuffix(".in") for line in lines if line.startswith("-r ")]
    own = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return [*own, *(requirement for name in included for requirement in asked_for(name))]


def locked(file: str) -> list[tuple[Requirement, list[str]]]:
    """What a .txt file pins, each with its hashes; a package may be there once for each of several Pythons."""
    text = (ROOT / f"{file}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.partition(" --hash=")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def pins(file: str) -> dict[str, Requirement]:
    """By its name, what a .txt file pins for the Python that runs the tests."""
    here = [pin for pin, _ in locked(file) if pin.marker is None or pin.marker.evaluate()]
    found = {canonicalize_name(pin.name): pin for pin in here}
    assert len(found) == len(here)
    return found


def asked_for_by(pin: Requirement) -> Iterator[Requirement]:
    """What a package, with the extras of its pin, asks for in its turn; nothing, if it isn't installed."""
    try:
        asked = [Requirement(line) for line in metadata.requires(pin.name) or []]
    except metadata.PackageNotFoundError:
        return
    for requirement in asked:
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *pin.extras)):
            yield requirement


@every_file
def test_what_is_asked_for_with_an_extra_is_pinned_with_that_extra(file: str) -> None:
    """Else pip before 23.3, which Debian 12 and Python 3.11 come with, says that it isn't pinned at all."""
    pinned = pins(file)
    asked = [*asked_for(file), *(each for pin in pinned.values() for each in asked_for_by(pin))]

    lacking = [
        f"{each} is asked for, {pin} is pinned"
        for each in asked
        if (pin := pinned.get(canonicalize_name(each.name))) and each.extras - pin.extras
    ]
    assert lacking == []


def test_an_extra_that_a_package_asks_for_is_seen() -> None:
    """pytest-cov asks for coverage[toml], so the test above has something to look at."""
    pytest_cov = pins("requirements-dev")["pytest-cov"]
    assert [each.extras for each in asked_for_by(pytest_cov) if each.name == "coverage"] == [{"toml"}]


@every_file
def test_whatever_is_asked_for_is_pinned_in_a_version_that_will_do(file: str) -> None:
    pinned = pins(file)
    assert {canonicalize_name(asked.name) for asked in asked_for(file)} <= pinned.keys()
    for asked in asked_for(file):
        (pin,) = pinned[canonicalize_name(asked.name)].specifier
        assert pin.operator == "==" and asked.specifier.contains(pin.version), asked


@every_file
def test_whatever_is_pinned_has_hashes(file: str) -> None:
    assert [str(pin) for pin, hashes in locked(file) if not hashes] == []


def test_development_pins_what_the_service_runs_with() -> None:
    assert locked("requirements")
    assert [pin for pin in locked("requirements") if pin not in locked("requirements-dev")] == []
