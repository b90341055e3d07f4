"""What a built site must be asked in a browser: requests, errors, mathematics, accessibility, width.

Chromium is driven headless by Playwright; nothing is downloaded. Each question returns its findings.
"""

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

from tools.pages import is_outside

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDE, NARROW = (1280, 900), (320, 640)

READY = """async () => {
  if (document.querySelector(".math")) {
    const patience = Date.now() + 10000, pause = again => setTimeout(again, 10);
    // A page whose MathJax never comes is reported, not waited for.
    while (!window.MathJax?.startup?.promise && Date.now() < patience) await new Promise(pause);
    await window.MathJax?.startup?.promise;
  }
  await document.fonts.ready;
  await new Promise(painted => requestAnimationFrame(() => requestAnimationFrame(painted)));
}"""
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"
UNREADY = r"""() => {
  const found = [...document.querySelectorAll("[data-mjx-error]")]
    .map(error => "error: " + (error.dataset.mjxError || error.textContent));
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container")) found.push("not rendered: " + math.textContent);
  const VERBATIM = "pre, code, script, style";
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode())
    if (/\$\$|\\\(|\\\[/.test(walk.currentNode.data) && !walk.currentNode.parentElement.closest(VERBATIM))
      found.push("raw: " + walk.currentNode.data.trim().slice(0, 60));
  return [...new Set(found)];
}"""
VIOLATIONS = """async ([standards, rules]) => {
  const result = await axe.run({runOnly: standards, rules, preload: false, resultTypes: ["violations"]});
  const summary = node => node.failureSummary.split("\\n").slice(1).map(line => line.trim()).join("; ");
  const line = (rule, node) => `${rule.id}: ${node.target.join(" ")}: ${summary(node)}`;
  return result.violations.flatMap(rule => rule.nodes.map(node => line(rule, node)));
}"""
SIDEWAYS = """() => {
  const page = document.scrollingElement, wide = page.scrollWidth - window.innerWidth;
  if (wide <= 1) return [];
  const sticksOut = element => element.getBoundingClientRect().right > window.innerWidth + 1;
  const names = [...document.body.querySelectorAll("*")].filter(sticksOut).map(e => `${e.tagName}.${e.className}`);
  return [`${wide} pixels too wide: ${names.slice(0, 5).join(", ")}`];
}"""


class Visit(NamedTuple):
    """What was found on one page."""

    requests: list[str]  # to other hosts
    errors: list[str]  # on the console
    mathematics: list[str]  # not rendered
    formulas: int  # rendered
    accessibility: list[str]  # violations of WCAG A and AA
    sideways: list[str]  # what makes the page scroll sideways


def find() -> str | None:
    """The browser to use: $CHROMIUM, or the first of the usual names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address at which a folder is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def visit(chromium: Browser, home: str, name: str) -> Visit:
    """Open one page: wide and light, wide and dark, and on a narrow screen."""
    context = chromium.new_context(viewport=_size(WIDE), color_scheme="light", bypass_csp=True)
    requests, errors, axe, sideways = [], [], [], []
    context.route(lambda url: is_outside(url) and not url.startswith(home), lambda route: route.abort())
    context.on("request", lambda request: _note_outside(requests, request.url, home))
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{home}/{name}")
    page.evaluate(READY)
    mathematics, formulas = page.evaluate(UNREADY), page.locator("mjx-container").count()
    page.evaluate(AXE_SCRIPT)
    page.add_style_tag(content=STILL)
    for look, size in (("light", WIDE), ("dark", WIDE), ("light", NARROW)):
        _dress(page, look, size)
        # Contrast takes most of the time and does not depend on the width.
        rules = {"color-contrast": {"enabled": size == WIDE}}
        axe += [f"{look}, {size[0]} wide: {line}" for line in page.evaluate(VIOLATIONS, [STANDARDS, rules])]
        sideways += [f"{size[0]} wide: {line}" for line in page.evaluate(SIDEWAYS)]
    context.close()
    return Visit(requests, errors, mathematics, formulas, axe, sideways)


def _dress(page: Page, look: str, size: tuple[int, int]) -> None:
    """Switch to light or dark and to a size, and wait until the page has followed."""
    page.emulate_media(color_scheme=look)
    page.set_viewport_size(_size(size))
    page.wait_for_function(f"document.documentElement.dataset.theme == '{look}'")
    page.evaluate(READY)


def _note_outside(requests: list[str], url: str, home: str) -> None:
    if is_outside(url) and not url.startswith(home):
        requests.append(url)


def _size(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}
