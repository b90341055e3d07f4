"""Models of hmmlearn, read and written by their attributes; a stand-in where hmmlearn is not installed."""

from types import SimpleNamespace

import numpy as np
import pytest
from hmm_oracles import draw, random_model
from proof import agree

from rnncourse import bridge_hmm
from rnncourse.reference import hmm


def test_there_and_back_again():
    for kind in ("categorical", "gaussian"):
        model = random_model(kind=kind)
        there = bridge_hmm.to_hmmlearn(model, SimpleNamespace(n_components=3, covariance_type="full"))
        assert there.n_features == (4 if kind == "categorical" else 2)
        back = bridge_hmm.from_hmmlearn(there)
        agree(back, model._replace(start=model.start + 0), 0)
        back.transition[0, 0] = 9  # copies
        assert there.transmat_[0, 0] != 9


@pytest.mark.parametrize(
    ("covars", "expected"),
    [
        (np.array([2.0, 3, 4]), [2 * np.eye(2), 3 * np.eye(2), 4 * np.eye(2)]),
        (np.array([[2.0, 1], [3, 1], [4, 1]]), [np.diag([2, 1]), np.diag([3, 1]), np.diag([4, 1])]),
        (np.array([[2.0, 1], [1, 3]]), [[[2, 1], [1, 3]]] * 3),
    ],
)
def test_every_kind_of_covariances(covars, expected):
    model = random_model(kind="gaussian")
    there = SimpleNamespace(
        startprob_=model.start, transmat_=model.transition, means_=model.emission.means, covars_=covars
    )
    agree(bridge_hmm.from_hmmlearn(there).emission.covariances, np.array(expected, float), 0)


def test_a_square_of_numbers_is_read_by_its_type():
    model = random_model(K=2, kind="gaussian")
    given = np.array([[2.0, 1], [1, 3]])
    there = SimpleNamespace(
        startprob_=model.start, transmat_=model.transition, means_=model.emission.means, covars_=given
    )
    with pytest.raises(ValueError, match="may be 'diag' or 'tied'"):
        bridge_hmm.from_hmmlearn(there)
    for kind, expected in (("tied", np.array([given, given])), ("diag", np.array([np.diag([2, 1]), np.diag([1, 3])]))):
        there.covariance_type = kind
        agree(bridge_hmm.from_hmmlearn(there).emission.covariances, expected.astype(float), 0)
    there.means_ = np.ones((2, 2, 2))  # a mixture for each state
    with pytest.raises(ValueError, match="means_: expected shape"):
        bridge_hmm.from_hmmlearn(there)


def test_what_does_not_fit_is_refused():
    model = random_model()
    there = bridge_hmm.to_hmmlearn(model, SimpleNamespace())
    for change, says in [
        ({"startprob_": None}, "it has no startprob_"),
        ({"emissionprob_": None}, "it has neither"),
        ({"n_trials": 5}, "emits counts"),
        ({"transmat_": np.full((3, 3), np.nan)}, "transition: 9 of 9 entries are NaN"),
    ]:
        broken = SimpleNamespace(**{k: v for k, v in {**vars(there), **change}.items() if v is not None})
        with pytest.raises(ValueError, match=says):
            bridge_hmm.from_hmmlearn(broken)
    with pytest.raises(ValueError, match="n_components = 3, got 2"):
        bridge_hmm.to_hmmlearn(model, SimpleNamespace(n_components=2))
    gaussian = random_model(kind="gaussian")
    with pytest.raises(ValueError, match="covariance_type 'full', got 'diag'"):
        bridge_hmm.to_hmmlearn(gaussian, SimpleNamespace(covariance_type="diag"))
    there = bridge_hmm.to_hmmlearn(gaussian, SimpleNamespace())
    there.covars_ = np.ones((2, 3, 2))
    with pytest.raises(ValueError, match="covars_ of shape"):
        bridge_hmm.from_hmmlearn(there)


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_hmmlearn_itself_computes_the_same(kind):
    peer = pytest.importorskip("hmmlearn.hmm")
    model = random_model(kind=kind)
    x = draw(model, 200, 1)
    there = peer.CategoricalHMM(3) if kind == "categorical" else peer.GaussianHMM(3, covariance_type="full")
    there = bridge_hmm.to_hmmlearn(model, there)
    seen = x if kind == "categorical" else x[:, 0]
    value, tape = hmm.forward(model, x)
    agree(value[0], there.score(seen), 1e-12)
    agree(hmm.backward(tape).posterior[:, 0], there.predict_proba(seen), 1e-10)
    agree(bridge_hmm.from_hmmlearn(there), model._replace(start=model.start + 0), 0)
