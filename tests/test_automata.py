"""Automata as tables and as networks: the same states and the same answers, without rounding."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from proof import agree, verifies

from rnncourse import automata, bridge, gpu
from rnncourse.data import code
from rnncourse.reference import cells, readout, unroll


def any_automaton(seed, Q, S, O=3):
    rng = np.random.default_rng(seed)
    return automata.Automaton(rng.integers(0, Q, (Q, S)), rng.integers(0, O, (Q, S)), int(rng.integers(0, Q)))


def looked_up(automaton, symbols):
    """The states and answers, one look at the table for each symbol."""
    q, states, answers = automaton.start, [], []
    for s in symbols:
        q = automaton.table[q][s]
        states.append(q)
        answers.append(automaton.answers[q][s])
    return np.array(states), np.array(answers)


def network(automaton, symbols, dtype=np.float64):
    """Units and outputs of the network, one row a step."""
    model = automata.as_rnn(automaton, dtype)
    x = automata.one_hot(symbols, automaton.table.shape[1], dtype)
    h = unroll.forward(cells.rnn("relu"), model.cell, x, model.initial_state)[0]
    return h[:, 0], readout.forward(model.readout, h)[0][:, 0]


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
@verifies("eq-automaton", oracle="table look-up")
def test_the_network_is_the_automaton(seed, Q, S):
    automaton = any_automaton(seed, Q, S)
    symbols = np.random.default_rng(seed + 1).integers(0, S, 40)
    states, answers = looked_up(automaton, symbols)
    units, outputs = network(automaton, symbols)
    expected = np.zeros((40, Q * S))
    expected[np.arange(40), states * S + symbols] = 1
    agree(units, expected, 0.0)  # exactly
    assert (outputs == np.eye(outputs.shape[1])[answers]).all()
    assert [part.tolist() for part in automata.run(automaton, symbols)] == [states.tolist(), answers.tolist()]


@verifies("eq-automaton", oracle="torch.nn.RNN and table look-up")
def test_torch_runs_the_same_weights():
    automaton = any_automaton(7, 5, 3)
    symbols = np.random.default_rng(8).integers(0, 3, 200)
    model = automata.as_rnn(automaton)
    x, start = bridge.to_torch((automata.one_hot(symbols, 3), model.initial_state))
    layer = bridge.rnn_to_torch(model.cell, "relu")
    theirs, _ = layer(x, start.expand(1, 1, -1))
    hot = np.arange(15) == (looked_up(automaton, symbols)[0] * 3 + symbols)[:, None]
    agree(network(automaton, symbols)[0], theirs[:, 0], 0.0)
    agree(theirs[:, 0], hot, 0.0)
    twin = gpu.unroll.forward(gpu.cells.rnn("relu"), bridge.to_torch(model.cell), x, start)[0]
    agree(twin[:, 0], hot, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_it_is_exact_in_every_precision(dtype):
    bits = np.random.default_rng(0).integers(0, 2, 20_000)
    units, outputs = network(automata.parity(), bits, dtype)
    assert outputs.dtype == dtype
    assert set(np.unique(units)) == {0, 1}
    assert (outputs.argmax(axis=1) == np.cumsum(bits) % 2).all()


def test_parity_by_counting():
    bits = np.random.default_rng(1).integers(0, 2, 5000)
    states, answers = automata.run(automata.parity(), bits)
    assert (answers == np.cumsum(bits) % 2).all() and (states == answers).all()


def test_a_start_that_nothing_leads_back_to():
    automaton = automata.Automaton(np.array([[1, 2], [2, 1], [1, 2]]), np.array([[0, 0], [1, 1], [2, 2]]), 0)
    symbols = np.array([0, 1, 0, 0, 1])
    assert (network(automaton, symbols)[1].argmax(axis=1) == looked_up(automaton, symbols)[1]).all()


def test_one_hot():
    assert automata.one_hot(np.array([1, 0]), 2, np.float32).tolist() == [[[0, 1]], [[1, 0]]]
    assert automata.one_hot(np.array([1, 0]), 2, np.float32).dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": np.array([[0, 2], [1, 0]])}, r"table: expected entries in 0..1, got \[\[0, 2\], \[1, 0\]\]"),
        ({"table": np.array([[0, -1], [1, 0]])}, "table: expected entries in 0..1"),
        ({"table": np.ones((2, 2))}, "table: expected integers, got float64"),
        ({"table": np.ones(2, int)}, r"table: expected shape \(Q, V\), got \(2,\)"),
        ({"table": np.ones((0, 2), int), "answers": np.ones((0, 2), int)}, "table: expected entries in"),
        ({"answers": np.ones((2, 1), int)}, r"answers: expected shape \(2, 2\), got \(2, 1\)"),
        ({"answers": np.array([[0, -1], [1, 0]])}, "answers: expected entries in 0..O-1"),
        ({"start": 2}, "start: expected a state in 0..1, got 2"),
        ({"start": -1}, "start: expected a whole number >= 0, got -1"),
    ],
)
def test_no_automaton(change, message):
    broken = automata.parity()._replace(**change)
    for call in (automata.as_rnn, lambda a: automata.run(a, np.array([0]))):
        with pytest.raises(ValueError, match=message):
            call(broken)


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (np.array([0, 2]), r"symbols: expected entries in 0..1, got 0..2"),
        (np.array([0.0]), "symbols: expected integers, got float64"),
        (np.array([[0]]), r"symbols: expected shape \(T,\), got \(1, 1\)"),
    ],
)
def test_no_symbols(symbols, message):
    for call in (lambda s: automata.run(automata.parity(), s), lambda s: automata.one_hot(s, 2)):
        with pytest.raises(ValueError, match=message):
            call(symbols)


# Python source


SNIPPETS = [
    'n = """a""\\"""b"""\n',  # a backslash after two marks inside a long string
    "x = 'a # no comment'  # a comment with 'marks' \"in it\n",
    's = "it\'s"\n',
    "e = ''\nf = ''  # empty\ng = '' 'b'\n",
    'long = """one\n# two "three" \'\'\' ""four"""\n',
    "q = '''a\\'''b'''\n",
    "r = r'\\'' + rb\"\\\\\" + '\\\n still'\n",
    'd = """"quoted" """ + """x\\""""\n',
    "a = 1 \\\n  + 2  # next\n",
    "# only a comment",
    "g = ''# empty, 'and a comment\nh = ''\"a'b\"\n",
    'm = """a"\\"""b"""  # a mark after a mark and a backslash ends nothing\n',
    "t = ''''''\nu = \"\"\"\"\"\"#x\n",
    "f = f'{1} # {2}'\n",
]


@pytest.mark.parametrize("text", SNIPPETS)
def test_the_reader_agrees_with_the_tokenizer_on_hard_cases(text):
    found = automata.run(code.reader(), code.kinds(text))[1]
    assert found.tolist() == code.regions(text).tolist()
    assert (network(code.reader(), code.kinds(text), np.float32)[1].argmax(axis=1) == found).all()


@pytest.mark.parametrize("module", ["textwrap", "tokenize", "json.decoder", "argparse"])
def test_the_reader_agrees_with_the_tokenizer_on_the_standard_library(module):
    text = code.source(module)
    assert len(text) > 5000
    assert (automata.run(code.reader(), code.kinds(text))[1] == code.regions(text)).all()


def test_what_the_reader_says_by_hand():
    text = "a='b'#c\n"
    assert automata.run(code.reader(), code.kinds(text))[1].tolist() == [0, 0, 2, 2, 2, 1, 1, 0]


def test_a_mark_at_the_end_of_a_line_opens_nothing_beyond_it():
    assert automata.run(code.reader(), code.kinds("'\nc"))[1].tolist() == [2, 0, 0]


def test_a_short_string_ends_with_its_line():
    assert automata.run(code.reader(), code.kinds("'ab\nc"))[1].tolist() == [2, 2, 2, 0, 0]


def test_nested_f_strings_need_a_stack():
    text = "f'{f'a'}'"  # from Python 3.12 on this is one string; the reader sees two, and code between
    assert automata.run(code.reader(), code.kinds(text))[1].tolist() == [0, 2, 2, 2, 2, 0, 2, 2, 2]


@pytest.mark.parametrize("module", ["no_such_module_here", "sys", "math"])
def test_no_source(module):
    with pytest.raises(ValueError, match="module: expected a module written in Python"):
        code.source(module)


def test_kinds():
    assert code.kinds("'\"\\#\na ").tolist() == [0, 1, 2, 3, 4, 5, 5]
