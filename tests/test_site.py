"""The built site: links, requests, alternative text, mathematics, accessibility, width; and that we would notice."""

import re
from pathlib import Path

import pytest

from tools import chromium, pages
from tools.book import build

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    result = build(ROOT, folder)
    assert result.returncode == 0, result.stdout
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def browser():
    if not chromium.find():
        pytest.skip(f"no browser here: none of {', '.join(chromium.PROGRAMS)} is installed and CHROMIUM is not set")
    with chromium.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def visits(site, browser):
    """What a browser finds on every page, by the page's name."""
    names = [page.relative_to(site).as_posix() for page in pages.pages(site) if not pages.redirects(page)]
    with chromium.served(site) as home:
        return {name: chromium.visit(browser, home, name) for name in names}


def listed(visits, question):
    return [f"{name}: {line}" for name, visit in visits.items() for line in getattr(visit, question)]


def test_every_link_within_the_site_leads_somewhere(site):
    assert pages.broken_links(site) == []


def test_no_page_names_a_resource_of_another_host(site):
    assert pages.outside_resources(site) == []


def test_every_image_says_what_it_shows(site):
    assert pages.images_without_text(site) == []


def test_no_page_shows_its_markup(site):
    assert pages.markup_shown(site) == []


def terms_without_a_way(site):
    """The glossary's terms that the index does not lead to, or from which it leads to no chapter."""
    glossary = (site / "appendices" / "glossary.html").read_text(encoding="utf8")
    index = (site / "genindex.html").read_text(encoding="utf8")
    terms = re.findall(r'<dt id="(term-[^"]+)"', glossary)
    assert len(terms) > 120
    entry = '<a href="appendices/glossary.html#{}">[^<]*</a>, <a href="chapters/'
    return [term for term in terms if not re.search(entry.format(re.escape(term)), index)]


def test_the_index_leads_from_every_term_to_the_glossary_and_to_a_chapter(site):
    assert terms_without_a_way(site) == []


def test_no_page_asks_another_host_for_anything(visits):
    assert listed(visits, "requests") == []


def test_no_page_has_errors_on_its_console(visits):
    assert listed(visits, "errors") == []


def test_mathematics_is_rendered(visits):
    assert listed(visits, "mathematics") == []
    chapters = [visit for name, visit in visits.items() if name.startswith("chapters/")]
    assert all(visit.formulas > 0 for visit in chapters)


def test_no_violation_of_wcag_a_or_aa_in_light_or_dark(visits):
    assert listed(visits, "accessibility") == []


def test_no_page_scrolls_sideways(visits):
    assert listed(visits, "sideways") == []


# Would we notice? Each test spoils one built page and expects the same question to find it.


def spoilt(site, folder, addition):
    """A site of one page, the smallest with mathematics, with something added at its end."""
    candidates = [page for page in pages.pages(site) if "mathjax/tex-chtml.js" in page.read_text(encoding="utf8")]
    page = min(candidates, key=lambda path: path.stat().st_size)
    copy = folder / page.relative_to(site)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(page.read_text(encoding="utf8").replace("</article>", addition + "</article>", 1), encoding="utf8")
    (folder / "_static").symlink_to(site / "_static")
    return copy.relative_to(folder).as_posix()


@pytest.mark.parametrize(
    ("question", "addition", "found"),
    [
        (pages.broken_links, '<a href="no-such-page.html">a</a>', "no-such-page.html leads to no file"),
        (pages.broken_links, '<a href="#no-such-place">a</a>', "#no-such-place leads to no such place"),
        (pages.outside_resources, '<script src="https://example.org/a.js"></script>', "https://example.org/a.js"),
        (pages.outside_resources, '<img src="//example.org/a.png" alt="A">', "//example.org/a.png"),
        (
            pages.outside_resources,
            "<style>@import url(https://example.org/a.css);</style>",
            "https://example.org/a.css",
        ),
        (pages.images_without_text, '<img src="a.png">', "a.png"),
        (pages.images_without_text, '<img src="a.png" alt=" ">', "a.png"),
        (pages.images_without_text, '<img src="_images/a.png" alt="a.png">', "a.png"),
        (pages.markup_shown, "<a>&lt;inline&gt;a&lt;/inline&gt;</a>", "&lt;/inline&gt;"),
    ],
)
def test_what_a_page_names_wrongly_is_found(site, tmp_path, question, addition, found):
    name = spoilt(site, tmp_path, addition)
    assert any(line.startswith(name) and found in line for line in question(tmp_path))


WRONGS = [
    ("requests", '<script>fetch("https://example.org/a")</script>', "https://example.org/a"),
    ("errors", '<script>throw new Error("on purpose")</script>', "on purpose"),
    ("mathematics", r'<div class="math">\[\nosuchcommand\]</div>', "nosuchcommand"),
    ("mathematics", "<p>We write $$ and stop.</p>", "$$"),
    ("accessibility", '<p id="pale" style="color: #bbb; background: #fff">Pale.</p>', "#pale"),
    (
        "accessibility",
        '<p style="background: #222"><a id="dim" href="#">Dim</a></p>',
        "light, 1280 wide: color-contrast: #dim",
    ),
    (
        "accessibility",
        '<p style="background: #fff"><a id="lit" href="#">Lit</a></p>',
        "dark, 1280 wide: color-contrast: #lit",
    ),
    (
        "accessibility",
        f'<p id="box" style="overflow: auto; width: 9em">{"a" * 99}</p>',
        "scrollable-region-focusable: #box",
    ),
    ("sideways", '<p style="width: 400px">Wide.</p>', "320 wide"),
]


@pytest.fixture(scope="module")
def bad_visit(site, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoilt")
    name = spoilt(site, folder, "".join(addition for _, addition, _ in WRONGS))
    with chromium.served(folder) as home:
        return chromium.visit(browser, home, name)


@pytest.mark.parametrize(("question", "addition", "found"), WRONGS)
def test_what_a_page_does_wrongly_is_found(bad_visit, question, addition, found):
    assert any(found in line for line in getattr(bad_visit, question))
