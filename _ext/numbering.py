"""Numbers that stay: equation, figure, theorem and exercise 7 of chapter 03 is 3.7 for good.

Chapters carry fixed numbers, whatever other chapters exist, so what a chapter numbers starts with its
own. Sphinx would count through the whole book, and every new chapter would renumber the rest.
"""

import re

CHAPTER = re.compile(r"^chapters/(\d\d)-")


def renumber(app, env):
    """Count each kind of numbered thing page by page, with the chapter's number in front."""
    for page, kinds in env.toc_fignumbers.items():
        chapter = CHAPTER.match(page)
        front = (int(chapter[1]),) if chapter else ()
        for numbers in kinds.values():
            in_order = sorted(numbers, key=numbers.get)
            numbers.update({name: (*front, count) for count, name in enumerate(in_order, start=1)})
    return []


def setup(app):
    app.connect("env-get-updated", renumber, priority=900)  # after Sphinx has counted
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
