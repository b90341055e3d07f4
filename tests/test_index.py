"""The general index: terms by letters, chapters by numbers, and the library's names in a list of their own."""

import importlib.util
from pathlib import Path

import pytest

EXT = Path(__file__).resolve().parent.parent / "_ext" / "index.py"
spec = importlib.util.spec_from_file_location("general_index", EXT)
index = importlib.util.module_from_spec(spec)
spec.loader.exec_module(index)

GATE = ("gate", ([("main", "appendices/glossary.html#term-gate"), ("", "chapters/07-lstm.html#gates")], [], None))
HIDDEN = ("state", ([], [("hidden", [("", "chapters/02-vanilla-rnn.html#s")])], None))
STEP = ("step() (in module rnncourse.gpu.gru)", ([("", "appendices/api.html#rnncourse.gpu.gru.step")], [], None))
STEPS = (
    "step() (in module rnncourse.costs)",
    (
        [("", "appendices/api.html#rnncourse.costs.step")],
        [("(in module rnncourse.reference.gru)", [("", "appendices/api.html#rnncourse.reference.gru.step")])],
        None,
    ),
)
MODULE = ("rnncourse.gpu.gru", ([], [("module", [("", "appendices/api.html#m")])], None))


def arranged(entries):
    context = {"genindexentries": entries}
    index.arrange(None, "genindex", "genindex.html", context, None)
    return context


def test_terms_and_names_stand_apart():
    context = arranged([("G", [GATE]), ("R", [MODULE]), ("S", [STEP, HIDDEN])])
    assert [(letter, [name for name, *_ in terms]) for letter, terms in context["index_letters"]] == [
        ("G", ["gate"]),
        ("S", ["state"]),
    ]
    assert context["index_names"] == [("step()", [("gpu.gru", "appendices/api.html#rnncourse.gpu.gru.step")])]


def test_a_term_leads_to_its_definition_and_by_number_to_its_chapters():
    ((_, ((_, address, chapters, below),)),) = arranged([("G", [GATE])])["index_letters"]
    assert address == "appendices/glossary.html#term-gate"
    assert chapters == [("07", "chapters/07-lstm.html#gates")]
    assert below == []
    ((_, ((_, address, chapters, below),)),) = arranged([("S", [HIDDEN])])["index_letters"]
    assert (address, chapters) == (None, [])
    assert below == [("hidden", [("02", "chapters/02-vanilla-rnn.html#s")])]


def test_a_name_is_listed_once_with_all_its_modules():
    context = arranged([("S", [STEP, STEPS])])
    homes = [
        ("gpu.gru", "appendices/api.html#rnncourse.gpu.gru.step"),
        ("costs", "appendices/api.html#rnncourse.costs.step"),
    ]
    assert context["index_names"] == [
        ("step()", [*homes, ("reference.gru", "appendices/api.html#rnncourse.reference.gru.step")])
    ]
    assert context["index_letters"] == []


def test_other_pages_are_left_alone():
    context = {"body": "text"}
    index.arrange(None, "intro", "page.html", context, None)
    assert context == {"body": "text"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("appendices/api.html#rnncourse.gpu.gru.reset_after", "gpu.gru"),
        ("appendices/api.html#rnncourse.params.RNNParams", "params"),
        ("appendices/api.html#rnncourse.gpu.speller.Speller.bits", "gpu.speller.Speller"),
    ],
)
def test_where_a_name_lies(address, expected):
    assert index.home(address) == expected
