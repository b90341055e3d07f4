"""The glossary names places that exist, in the chapters where it says they are; and we would notice if not."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = (ROOT / "appendices" / "glossary.md").read_text(encoding="utf8")
CHAPTERS = {path.stem[:2]: path.read_text(encoding="utf8") for path in sorted((ROOT / "chapters").glob("*.md"))}
PLACE = re.compile(r"\{(ref|eq|numref|prf:ref)\}`(?:([^`<]*) <)?([\w-]+)>?`")
# How each kind of place is defined in a chapter's text.
DEFINED = {
    "ref": r"^\({}\)=$",
    "eq": r"^ *\$\$ \({}\)$",
    "numref": r"^ +name: {}$",
    "prf:ref": r"^:label: {}$",
}


def entries(text: str) -> list[tuple[list[str], list[str]]]:
    """Each entry of a glossary: its terms and the lines of its definition."""
    lists = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, re.S | re.M)
    found = []
    for block in "\n".join(lists).strip().split("\n\n"):
        lines = block.splitlines()
        terms = [line for line in lines if not line.startswith("  ")]
        found.append((terms, [line[2:] for line in lines[len(terms) :]]))
    return found


def places(line: str) -> list[tuple[str, str, str]]:
    """The chapter, the kind and the label of every place that the last line of a definition names."""
    found, chapter = [], ""
    for kind, said, label in PLACE.findall(line):
        if kind == "ref":
            chapter = said[-2:]
        found.append((chapter, kind, label))
    return found


def faults(text: str) -> list[str]:
    """What is wrong with a glossary, in words."""
    found, seen = [], set()
    for terms, lines in entries(text):
        name = terms[0] if terms else "(no term)"
        found += [f"{term}: twice" for term in terms if term.lower() in seen]
        seen |= {term.lower() for term in terms}
        if len(lines) < 2 or PLACE.match(lines[0]):
            found.append(f"{name}: no definition")
        if not lines or not re.match(r"\{ref\}`Chapter \d\d <", lines[-1]):
            found.append(f"{name}: no place")
            continue
        if not re.fullmatch(rf"{PLACE.pattern}(?:[,;] {PLACE.pattern})*\.", lines[-1]):
            found.append(f"{name}: more than places in its last line")
        for chapter, kind, label in places(lines[-1]):
            if not re.search(DEFINED[kind].format(re.escape(label)), CHAPTERS.get(chapter, ""), re.M):
                found.append(f"{name}: no {label} in chapter {chapter}")
    for letter, part in re.findall(r"^## (.)$(.*?)(?=^## |\Z)", text, re.S | re.M):
        found += [f"{terms[0]}: below {letter}" for terms, _ in entries(part) if terms[0][0].upper() != letter]
    firsts = [terms[0].lower() for terms, _ in entries(text) if terms]
    found += [f"{late}: after {early}" for early, late in pairwise(firsts) if late < early]
    for chapter in CHAPTERS:
        named = sum(any(chapter == where for where, _, _ in places(lines[-1])) for _, lines in entries(text) if lines)
        if named < 4:
            found.append(f"chapter {chapter}: named by {named} entries, fewer than four")
    return found


def test_the_glossary_is_whole():
    assert faults(GLOSSARY) == []
    assert len(entries(GLOSSARY)) > 120


@pytest.mark.parametrize(("terms", "lines"), entries(GLOSSARY), ids=lambda part: part[0] if part else "")
def test_a_term_is_used_in_the_chapters_that_its_entry_names(terms, lines):
    # The words of the term, or of a synonym, shorn of their endings: "smoother" and "smoothing" are one.
    stems = [[word.lower()[: max(3, len(word) - 3)] for word in re.findall(r"\w+", term)] for term in terms]
    for chapter in {where for where, _, _ in places(lines[-1])}:
        text = CHAPTERS[chapter].lower()
        assert any(all(stem in text for stem in words) for words in stems), (terms, chapter)


ADAM = re.search(r"^Adam\n(?:  .*\n)+", GLOSSARY, re.M)[0]
SPOILT = {
    "a label that no chapter has": (
        ("{eq}`def-adagrad`", "{eq}`def-adagard`"),
        "Adagrad: no def-adagard in chapter 04",
    ),
    "a label of another chapter": (("{eq}`def-adagrad`", "{eq}`def-lds`"), "Adagrad: no def-lds in chapter 04"),
    "a theorem cited as an equation": (
        ("{prf:ref}`thm-state`", "{eq}`thm-state`"),
        "state: no thm-state in chapter 02",
    ),
    "a chapter under another's number": (("`Chapter 10 <chapter-ekf>", "`Chapter 09 <chapter-ekf>"), "in chapter 09"),
    "a term that stands twice": (("\nAdam\n", "\nAdagrad\n"), "Adagrad: twice"),
    "terms out of order": ((ADAM + "\n", ""), None),
    "no place": (
        ("  {ref}`Chapter 01 <chapter-sequences>`; {ref}`chapter 06 <chapter-remedies>`.\n", ""),
        "Adam: no place",
    ),
    "no definition": (
        ("  " + "\n  ".join(entries(ADAM.join(["```{glossary}\n", "```"]))[0][1][:-1]) + "\n", ""),
        "Adam: no",
    ),
    "words behind a place": (("{eq}`def-adagrad`.", "{eq}`def-adagrad` and more."), "Adagrad: more than places"),
    "a chapter that hardly an entry names": (("<chapter-ekf>", "<chapter-lds>"), "chapter 10: named by"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_glossary_is_found(spoilt):
    (old, new), complaint = SPOILT[spoilt]
    text = GLOSSARY.replace(old, new)
    if spoilt == "terms out of order":  # the entry goes to the end
        text, complaint = text.rstrip().removesuffix("```") + f"\n{ADAM}```\n", "adam: after word vector"
    if spoilt == "a chapter that hardly an entry names":
        text = re.sub(r"([Cc]hapter) 10 <chapter-lds>", r"\1 09 <chapter-lds>", text)
    assert text != GLOSSARY
    assert any(complaint in fault for fault in faults(text)), faults(text)
