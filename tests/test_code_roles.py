"""Every name of a line gets the role that Python's parser gives it."""

import numpy as np

from rnncourse.data import code_roles

SOURCE = '''
import os.path as p, sys
from a import b as c
@decorated
class Big(Base, metaclass=M):
    async def make(self, x: int = 3, *rest, key=None) -> str:
        """A text."""
        total = self.size + sum(x.items(y=2), start=é.ü)  # a comment
        rest[0].used += f"{total} {rest}"
        return (lambda v: v)(total)
'''


def found():
    return {
        " ".join(line.tokens): [
            (name, code_roles.ROLES[role]) for name, role in zip(line.names, line.roles, strict=True) if role >= 0
        ]
        for line in code_roles.lines(SOURCE)
    }


def test_roles():
    lines = list(found().values())
    assert lines[0] == [("p", "imported"), ("sys", "imported")]
    assert lines[1] == [("b", "imported"), ("c", "imported")]
    assert lines[2] == [("decorated", "read")]
    assert lines[3] == [("Big", "defined"), ("Base", "read"), ("metaclass", "keyword"), ("M", "read")]
    assert [role for _, role in lines[4]] == ["defined", *["parameter"] * 2, "read", *["parameter"] * 2, "read"]
    assert lines[5] == [
        *[("total", "written"), ("self", "read"), ("size", "attribute"), ("sum", "called"), ("x", "read")],
        *[("items", "method"), ("y", "keyword"), ("start", "keyword"), ("é", "read"), ("ü", "attribute")],
    ]
    assert lines[6] == [("rest", "read"), ("used", "attribute")]  # what is inside the string does not count
    assert lines[7] == [("v", "parameter"), ("v", "read"), ("total", "read")]


def test_names_numbers_and_strings_are_hidden():
    assert "name [ number ] . name += string" in found()


def test_no_line_is_on_both_sides():
    roles = code_roles.load()
    parts = [{line.tokens for line in part} for part in (roles.train, roles.valid, roles.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(roles.train) > 3000 and len(roles.test) > 400
    tokens, answers = code_roles.encode(roles.test[:9], roles.vocabulary)
    for b, line in enumerate(roles.test[:9]):
        n = len(line.tokens)
        assert (tokens[:n, b] > 0).all() and not tokens[n:, b].any()
        assert answers[:n, b].tolist() == list(line.roles) and (answers[n:, b] == -1).all()
        shown = [roles.vocabulary[i - 2] for i in tokens[:n, b] if i > 1]
        assert shown == [token for token in line.tokens if token in roles.vocabulary]
    judged = np.concatenate([line.roles for line in roles.train])
    assert (np.bincount(judged[judged >= 0], minlength=9) > 20).all()
