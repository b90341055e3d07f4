"""The general index: what the book speaks of first, and the library's names after it.

Sphinx puts every function of the reference among the terms, where a term is one line in twenty. Here
the two stand apart. A term of the glossary leads to its definition there and, by the chapters'
numbers, to the places that the definition names; what a chapter marks with ``{index}`` joins them.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

GLOSSARY, REFERENCE = "appendices/glossary", "appendices/api"
CHAPTER = re.compile(r"chapters/(\d\d)-")


def add_places(app, env):
    """Enter each term of the glossary once more, at the places that its definition names."""
    if GLOSSARY not in env.found_docs:
        return
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        for mark in item.findall(addnodes.index):  # as Sphinx enters it: with a typewriter's apostrophe
            name = mark["entries"][0][1]
            for page, anchor in places(env, item):
                env.domaindata["index"]["entries"].setdefault(page, []).append(("single", name, anchor, "", None))


def places(env, item):
    """Pages and anchors that a definition names, one for each page: the first that is no whole chapter."""
    found = {}
    for reference in item.findall(addnodes.pending_xref):
        page, anchor = place(env, reference["reftype"], reference["reftarget"])
        whole = reference["reftarget"].startswith("chapter-")
        if page not in found or (found[page][1] and not whole):
            found[page] = anchor, whole
    return [(page, anchor) for page, (anchor, _) in found.items()]


def place(env, kind, label):
    """The page and the anchor of a label."""
    if kind == "eq":
        return env.domaindata["math"]["objects"][label][0], f"equation-{label}"
    if label in env.domaindata["std"]["anonlabels"]:
        return env.domaindata["std"]["anonlabels"][label]
    return env.proof_list[label]["docname"], label


def arrange(app, page, template, context, doctree):
    """Give the template the terms by their letters, and the library's names in one list."""
    if "genindexentries" not in context:  # some other page, or the one that the index replaces
        return
    letters, names = [], []
    for letter, entries in context["genindexentries"]:
        known = [(name, links, parts, of_library(links, parts)) for name, (links, parts, _) in entries]
        terms = [(name, *sorted_out(links, parts)) for name, links, parts, ours in known if not ours]
        if terms:
            letters.append((letter, terms))
        names += [in_modules(name, links, parts) for name, links, parts, ours in known if ours]
    context["index_letters"] = letters
    context["index_names"] = joined(name for name in names if name)


def addresses(links, parts):
    return [address for _, address in [*links, *(link for _, inner in parts for link in inner)]]


def of_library(links, parts):
    return all(address.startswith(f"{REFERENCE}.html") for address in addresses(links, parts))


def sorted_out(links, parts):
    """Where a term itself leads, the numbers of chapters with their addresses, and what stands below it."""
    numbered = [(CHAPTER.search(address), address) for _, address in links]
    main = next((address for number, address in numbered if not number), None)
    below = [(name, [(number(address), address) for _, address in inner]) for name, inner in parts]
    return main, [(match[1], address) for match, address in numbered if match], below


def number(address):
    match = CHAPTER.search(address)
    return match[1] if match else "appendix"


def in_modules(entry, links, parts):
    """A name of the library and where it lies: "f() (in module rnncourse.a)" is ("f()", [("a", address)])."""
    name = entry.partition(" (")[0]
    if name.startswith("rnncourse") or name == "module":  # a module; the reference has them as headings
        return None
    return name, [(home(address), address) for address in addresses(links, parts)]


def home(address):
    """The module, or the class, of an address: "api.html#rnncourse.gpu.gru.step" is of "gpu.gru"."""
    return address.partition("#")[2].rpartition(".")[0].removeprefix("rnncourse.")


def joined(names):
    """One entry for each name, in the alphabet's order, whatever letter of the index it came from."""
    found = {}
    for name, homes in names:
        found.setdefault(name, []).extend(homes)
    return sorted(found.items(), key=lambda item: (item[0].lower(), item[0]))


def own_template(app, config):
    config.templates_path.append(str(Path(__file__).resolve().parent / "templates"))


def setup(app):
    app.connect("config-inited", own_template)
    app.connect("env-check-consistency", add_places)
    app.connect("html-page-context", arrange)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
