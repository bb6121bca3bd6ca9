"""The documentation site: its settings name every page, and links lead to files that exist."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
REPOSITORY = re.compile(
    r"https://(?:github\.com/fairfix/fairfix/blob|raw\.githubusercontent\.com/fairfix/fairfix)/main/"
    r"([^)#\"\s]+)"
)


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCS / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded


def targets(navigation: Any) -> Iterator[str]:
    for entry in navigation:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else targets(value)


def test_the_navigation_names_every_page_once() -> None:
    named = [name for name in targets(settings()["nav"]) if "://" not in name]
    assert sorted(named) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def test_nothing_is_loaded_from_the_network() -> None:
    found = settings()
    assert found["theme"]["font"] is False
    assert not {"extra_css", "extra_javascript", "repo_url"} & set(found)  # a repo_url is asked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in REPOSITORY.findall(text):
        assert (ROOT / name).is_file(), name
    prose = re.sub(r"^```.*?^```$|`[^`]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)", prose):
        if "://" not in link:
            assert (page.parent / link).is_file(), link


def test_the_page_of_methods_is_current() -> None:
    script = runpy.run_path(str(DOCS / "scripts" / "methods_page.py"))
    page = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert page == script["page"](), "run: python docs/scripts/methods_page.py > docs/methods.md"


def test_the_recording_shows_the_figures_of_the_readme() -> None:
    recording = (DOCS / "pictures" / "terminal.svg").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    claim = re.search(r"gap goes from\n?\s*(\S+) to (\S+) at a balanced accuracy of (\S+)", readme)
    assert claim
    assert all(figure in recording for figure in claim.groups())
    assert "Passed: the demand is certified." in recording
    assert "prefers-reduced-motion" in recording
    assert len(recording) < 100_000


def test_the_picture_of_the_report_is_small() -> None:
    picture = (DOCS / "pictures" / "report.webp").read_bytes()
    assert picture[8:12] == b"WEBP"
    assert len(picture) < 150_000
