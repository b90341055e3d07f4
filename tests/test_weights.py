"""Trained weights come back as they were kept, or not at all."""

import hashlib

import numpy as np
import pytest
from proof import agree

from rnncourse import weights
from rnncourse.params import map_arrays, named_arrays
from rnncourse.seq2seq_params import init_seq2seq


@pytest.fixture
def kept(tmp_path):
    params = init_seq2seq(np.random.default_rng(0), 5, 4, 3, 4, "dot", both_ways=True)
    np.savez(tmp_path / "some.npz", **dict(reversed(list(named_arrays(params)))))  # found by name, not by place
    return params, hashlib.sha256((tmp_path / "some.npz").read_bytes()).hexdigest(), tmp_path


def test_what_was_kept_comes_back(kept):
    params, digest, folder = kept
    found = weights.load("some", map_arrays(np.zeros_like, params), digest, folder)
    agree(found, params, 0)
    assert type(found) is type(params)


def test_another_file_or_another_form_is_refused(kept):
    params, digest, folder = kept
    with pytest.raises(ValueError, match="not the file that the record tells of"):
        weights.load("some", params, "0" * 64, folder)
    with pytest.raises(ValueError, match="like: expected"):
        weights.load("some", params._replace(source_table=np.zeros((6, 3))), digest, folder)
    with pytest.raises(FileNotFoundError, match="part of the course's repository"):
        weights.load("none", params, digest, folder)
