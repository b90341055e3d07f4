"""The parameters of a linear system: how they start, and what does not fit."""

import numpy as np
import pytest

from rnncourse import lds_params


def test_a_start_is_a_system():
    params = lds_params.init_lds(np.random.default_rng(0), states=4, outputs=3, inputs=2, radius=0.8)
    assert lds_params.check(params, steps=5, sequences=2) == (4, 2, 3)
    assert np.allclose(np.linalg.svd(params.transition)[1], 0.8) and np.array_equal(params.state_noise, np.eye(4))
    assert lds_params.init_lds(np.random.default_rng(0), 4, 3).input_weights.shape == (4, 0)


def test_what_changes_fits_the_data():
    params = lds_params.init_lds(np.random.default_rng(0), 4, 3, 2)
    for name in lds_params.MATRICES:
        matrix = getattr(params, name)
        for lead in ((5,), (5, 2)):
            spread = params._replace(**{name: np.broadcast_to(matrix, (*lead, *matrix.shape))})
            assert lds_params.check(spread, 5, 2) == (4, 2, 3)
            with pytest.raises(ValueError, match=f"^{name}: "):
                lds_params.check(spread, 6, 2)
        wrong = params._replace(**{name: matrix[:-1]})
        with pytest.raises(ValueError, match=f"^({name}|output_noise): "):
            lds_params.check(wrong, 5, 2)


@pytest.mark.parametrize(
    ("change", "name"), [({"states": 0}, "states"), ({"outputs": 0}, "outputs"), ({"inputs": -1}, "inputs")]
)
def test_doors(change, name):
    sizes = {"states": 2, "outputs": 2, "inputs": 2} | change
    with pytest.raises(ValueError, match=f"^{name}: "):
        lds_params.init_lds(np.random.default_rng(0), **sizes)
