"""Between the library and hmmlearn: models are read and written by the names of their attributes."""

from typing import Any

import numpy as np

from rnncourse import doors, hmm_params
from rnncourse.hmm_params import Categorical, Gaussian, HMMParams


def from_hmmlearn(model: Any) -> HMMParams:
    """Read a fitted model of hmmlearn, or anything with the same attributes. hmmlearn is not imported.

    Args:
        model: has ``startprob_``, ``transmat_``, and either ``emissionprob_`` (a ``CategoricalHMM``) or
            ``means_`` and ``covars_`` (a ``GaussianHMM`` of any ``covariance_type``).

    Returns:
        The model, float64.

    Raises:
        ValueError: if an attribute is missing or does not fit: hmmlearn can return NaN and call it converged.
    """
    names = ("startprob_", "transmat_")
    missing = [name for name in names if not hasattr(model, name)]
    if missing:
        raise ValueError(f"model: expected a fitted model with {' and '.join(names)}; it has no {missing[0]}")
    start, transition = (np.array(getattr(model, name), float) for name in names)
    if hasattr(model, "n_trials"):
        raise ValueError("model: expected symbols, and a MultinomialHMM emits counts; its CategoricalHMM emits symbols")
    if hasattr(model, "emissionprob_"):
        emission = Categorical(np.array(model.emissionprob_, float))
    elif hasattr(model, "means_") and hasattr(model, "covars_"):
        means = np.array(model.means_, float)
        doors.shape("model.means_", means, ("K", "D"))
        kind = getattr(model, "covariance_type", None)
        emission = Gaussian(means, _covariances(np.array(model.covars_, float), kind, *means.shape))
    else:
        raise ValueError("model: expected emissionprob_, or means_ and covars_; it has neither")
    params = HMMParams(start, transition, emission)
    hmm_params.check(params)
    return params


def to_hmmlearn(params: HMMParams, model: Any) -> Any:
    """Write a model into one of hmmlearn's, or into anything that takes the same attributes.

    Args:
        params: the model, arrays.
        model: a ``CategoricalHMM``, or a ``GaussianHMM`` with ``covariance_type="full"``.

    Returns:
        The same object, its attributes set.

    Raises:
        ValueError: if the model does not fit, or covariances are of another type than "full".
    """
    K = hmm_params.check(params)
    if getattr(model, "n_components", K) != K:
        raise ValueError(f"model: expected n_components = {K}, got {model.n_components}")
    if isinstance(params.emission, Gaussian) and getattr(model, "covariance_type", "full") != "full":
        raise ValueError(f"model: expected covariance_type 'full', got {model.covariance_type!r}")
    model.startprob_, model.transmat_ = params.start.copy(), params.transition.copy()
    if isinstance(params.emission, Categorical):
        model.n_features = params.emission.probabilities.shape[1]
        model.emissionprob_ = params.emission.probabilities.copy()
    else:
        model.n_features = params.emission.means.shape[1]
        model.means_, model.covars_ = params.emission.means.copy(), params.emission.covariances.copy()
    return model


def _covariances(given: np.ndarray, kind: str | None, K: int, D: int) -> np.ndarray:
    """One matrix for each state, from a matrix each, a diagonal each, a number each, or one matrix for all."""
    if given.shape == (K, D, D):
        return given
    made = {
        ("diag", (K, D)): lambda: given[:, :, None] * np.eye(D),
        ("spherical", (K,)): lambda: given[:, None, None] * np.eye(D),
        ("tied", (D, D)): lambda: np.tile(given, (K, 1, 1)),
    }
    fits = [make for (name, shape), make in made.items() if given.shape == shape and kind in (name, None)]
    if len(fits) > 1:
        raise ValueError(f"model: covars_ of shape {given.shape} may be 'diag' or 'tied'; set its covariance_type")
    if not fits:
        shapes = f"{(K, D, D)}, {(K, D)}, {(K,)} or {(D, D)}"
        raise ValueError(f"model: expected covars_ of shape {shapes}, as covariance_type says; got {given.shape}")
    return fits[0]()
