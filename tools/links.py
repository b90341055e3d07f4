"""Ask every external link of the texts whether it still answers."""

import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"https?://[^\s<>\"')\]`]+")
OURS = "https://github.com/rnncourse/"  # tested without a network by tests/test_book.py


def links(text: str) -> set[str]:
    """The addresses in a text, without the full stop or comma that may follow them."""
    return {link.rstrip(".,;:") for link in LINK.findall(text)}


def texts() -> list[Path]:
    """Every text of the project."""
    folders = (ROOT, ROOT / "chapters", ROOT / "appendices", ROOT / "exercises")
    return [ROOT / "references.bib", *(file for folder in folders for file in sorted(folder.glob("*.md")))]


def fault(link: str) -> str | None:
    """Why a link does not answer, or None if it does. A server that refuses robots does answer."""
    request = urllib.request.Request(link, headers={"User-Agent": "Mozilla/5.0 (link check)"})
    try:
        with urllib.request.urlopen(request, timeout=20):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in (403, 405, 429) else str(error)
    except (urllib.error.URLError, TimeoutError) as error:
        return str(error)


def main() -> None:
    asked = sorted(link for file in texts() for link in links(file.read_text(encoding="utf-8")))
    asked = [link for link in dict.fromkeys(asked) if not link.startswith(OURS)]
    with ThreadPoolExecutor(8) as pool:
        broken = [(link, why) for link, why in zip(asked, pool.map(fault, asked), strict=True) if why]
    for link, why in broken:
        print(f"{link}: {why}")
    print(f"{len(asked)} links, {len(broken)} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
