"""What a built site can be asked without a browser: links, outside resources, alternative text, markup.

Each question returns its findings, one line each; a good site has none.
"""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself when it meets the tag. A link that a reader may follow is not here.
FETCHED = {"src", "srcset", "poster", "data"}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"}
IN_CSS = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")

STYLE = re.compile(r"<style.*?</style>", re.S | re.I)
VERBATIM = re.compile(r"<(pre|code|script|style)\b.*?</\1>", re.S | re.I)
SHOWN_TAG = re.compile(r"&lt;/\w+&gt;")


def pages(site: Path) -> list[Path]:
    """Every page of the site, in order."""
    return sorted(page for page in site.rglob("*.html") if "_static" not in page.parts)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, {name: value or "" for name, value in attributes}))


@cache
def tags(page: Path) -> list[tuple[str, dict[str, str]]]:
    """A page's tags; a page is read once."""
    return Tags(page.read_text(encoding="utf8")).found


def redirects(page: Path) -> list[str]:
    """Where a page sends the reader on to by itself."""
    refreshing = [attributes for tag, attributes in tags(page) if attributes.get("http-equiv", "").lower() == "refresh"]
    return [attributes["content"].partition("url=")[2] for attributes in refreshing]


def anchors(page: Path) -> set[str]:
    """The places in a page that a link can point at; the empty one is its top."""
    named = {attributes["name"] for tag, attributes in tags(page) if tag == "a" and "name" in attributes}
    return {attributes["id"] for _, attributes in tags(page) if "id" in attributes} | named | {""}


def links(page: Path) -> set[str]:
    """Where a page's links and redirects lead."""
    followed = [attributes["href"] for tag, attributes in tags(page) if tag in {"a", "area"} and "href" in attributes]
    return {*followed, *redirects(page)}


def broken_links(site: Path) -> list[str]:
    """Links within the site whose file or anchor does not exist."""
    found = []
    for page in pages(site):
        for link in sorted(links(page)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file():
                found.append(f"{page.relative_to(site)}: {link} leads to no file")
            elif target.suffix == ".html" and unquote(parts.fragment) not in anchors(target):
                found.append(f"{page.relative_to(site)}: {link} leads to no such place on its page")
    return found


def is_outside(address: str) -> bool:
    """Whether an address names another host."""
    parts = urlsplit(address.strip())
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ws", "wss"}


def fetched(page: Path) -> Iterator[str]:
    """The addresses that a browser fetches by itself when it opens the page."""
    for tag, attributes in tags(page):
        if tag == "link" and FETCHED_LINKS & set(attributes.get("rel", "").split()):
            yield attributes.get("href", "")
        for name in FETCHED & attributes.keys():
            for candidate in attributes[name].split(",") if name == "srcset" else [attributes[name]]:
                yield candidate.strip().partition(" ")[0]
        yield from IN_CSS.findall(attributes.get("style", ""))
    for sheet in STYLE.findall(page.read_text(encoding="utf8")):
        yield from IN_CSS.findall(sheet)


def outside_resources(site: Path) -> list[str]:
    """What pages and style sheets would fetch from other hosts."""
    found = [
        f"{page.relative_to(site)}: {address}"
        for page in pages(site)
        for address in sorted(set(fetched(page)))
        if is_outside(address)
    ]
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text(encoding="utf8")
        found += [f"{sheet.relative_to(site)}: {address}" for address in IN_CSS.findall(text)]
    return found


def images_without_text(site: Path) -> list[str]:
    """Images whose alternative text is missing, empty, or nothing but the name of a file."""
    found = []
    for page in pages(site):
        for image in (attributes for tag, attributes in tags(page) if tag == "img"):
            text, source = image.get("alt", "").strip(), image.get("src", "")
            if not text or Path(text).name == Path(source).name:
                found.append(f"{page.relative_to(site)}: {source} has alternative text {text!r}")
    return found


def markup_shown(site: Path) -> list[str]:
    """Closing tags that a reader sees as text, outside of code: something was written out that should be rendered."""
    return [
        f"{page.relative_to(site)}: {tag}"
        for page in pages(site)
        for tag in SHOWN_TAG.findall(VERBATIM.sub("", page.read_text(encoding="utf8")))
    ]
