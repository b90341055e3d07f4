"""Ask every external link of the texts and of the bibliography whether it still answers.

    python tools/links.py

Prints each link that does not, with the files that have it, and ends with status 1 if there is any.
A server that answers but turns programs away (401, 403, 429) is named, and counts as alive.
"""

import http.client
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# An address may hold parentheses in pairs, and does not end with the punctuation of its sentence.
ADDRESS = re.compile(r"https?://(?:[^\s<>()\[\]{}\"'`|\\*]|\([^\s()]*\))+(?<![.,;:!?])")
DOI = re.compile(r"^\s*doi\s*=\s*[{\"]([^}\"]+)", re.M)
TURNED_AWAY = {401, 403, 429}
TRIES = 3


def texts(root: Path) -> list[Path]:
    """The texts and bibliographies under version control."""
    listed = subprocess.run(["git", "ls-files", "*.md", "*.bib"], cwd=root, check=True, capture_output=True, text=True)
    return [root / name for name in listed.stdout.splitlines()]


def addresses(text: str) -> Iterator[str]:
    """The external addresses in a text: each link without its fragment, and each DOI."""
    for found in ADDRESS.findall(text):
        yield found.partition("#")[0]
    for doi in DOI.findall(text):
        yield f"https://doi.org/{doi}"


def collect(paths: list[Path]) -> dict[str, list[Path]]:
    """Every address, once, with the files that have it."""
    found = {}
    for path in paths:
        for address in dict.fromkeys(addresses(path.read_text(encoding="utf8"))):
            found.setdefault(address, []).append(path)
    return found


def ask(address: str, pause: float = 5.0) -> str:
    """What is wrong with an address; "" if it answers.

    Args:
        address: what to ask.
        pause: seconds to wait before asking again, since a network may fail for a moment.
    """
    for left in reversed(range(TRIES)):
        wrong = _ask_once(address)
        if not wrong or wrong.startswith("HTTP 4") or not left:
            return wrong
        time.sleep(pause)


def _ask_once(address: str) -> str:
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (a link checker)"})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return ""
    except urllib.error.HTTPError as answer:
        return f"HTTP {answer.code}"
    except (OSError, http.client.HTTPException, ValueError) as trouble:  # no such host, no time left, no address
        return f"{type(trouble).__name__}: {trouble}"


def main(root: Path = ROOT, pause: float = 5.0) -> int:
    """Ask them all, a few at a time; 1 if any is broken."""
    found = collect(texts(root))
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(found, pool.map(lambda address: ask(address, pause), found), strict=True))
    shy = {address for address, wrong in answers.items() if wrong in {f"HTTP {code}" for code in TURNED_AWAY}}
    broken = {address for address, wrong in answers.items() if wrong} - shy
    for address in sorted(shy | broken):
        where = ", ".join(str(path.relative_to(root)) for path in found[address])
        print(f"{'broken' if address in broken else 'turned away'}: {address} ({answers[address]}) in {where}")
    print(f"{len(found)} links, {len(broken)} broken, {len(shy)} turned away")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
