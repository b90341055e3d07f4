"""Handwritten digits: 1797 pictures of 8 x 8 pixels with seventeen grey levels, in the order of their writers.

Source: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine
Learning Repository, CC BY 4.0; the copy in scikit-learn 1.9.1 (BSD 3-Clause), packed by
``tools/prepare_digits.py``. A pixel is the number of ink dots in a square of 4 x 4 dots, 0 to 16. Thirteen
people wrote them, and the images stand in the order in which their forms were read.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnncourse import doors

LICENCE = "CC BY 4.0, E. Alpaydin and C. Kaynak; scikit-learn's copy: BSD 3-Clause"
SHA256 = "c2e026842e2fbea1861eda92dd1ef14d4f53cf43e26e817940332061c0fa4430"
FILE = Path(__file__).with_name("digits.bin")
COUNT, SIDE, LEVELS = 1797, 8, 17
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)
SPLITS = ("shuffled", "forms")


class Digits(NamedTuple):
    """The pictures.

    Attributes:
        images: grey levels 0 (paper) to 16 (ink), integers, shape (1797, 8, 8).
        labels: which digit, integers, shape (1797,).
        forms: on which form it was written, 0 to 13, integers, shape (1797,). The labels run through one printed
            order fourteen times; a form begins where that order does, and half of the forms lack a few digits.
    """

    images: np.ndarray
    labels: np.ndarray
    forms: np.ndarray


class Parts(NamedTuple):
    """Places of images in the file.

    Attributes:
        train: to learn from.
        valid: to choose by.
        test: to be read once.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def load(file: Path = FILE) -> Digits:
    """Read the digits.

    Args:
        file: where they lie.

    Returns:
        Images, labels and forms.

    Raises:
        ValueError: if the file is not the one that was packed.
    """
    content = Path(file).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"file: {Path(file).name} is not the file that tools/prepare_digits.py writes")
    words = np.frombuffer(content, "<u8")
    pixels = COUNT * SIDE * SIDE
    cut = -(-pixels // 15)
    images = _unpacked(words[:cut], LEVELS, 15)[:pixels].reshape(COUNT, SIDE, SIDE)
    labels = _unpacked(words[cut:], 10, 19)[:COUNT]
    forms = np.searchsorted(FORMS, np.arange(COUNT), side="right") - 1
    return Digits(images, labels, forms)


def split(how: str = "shuffled", seed: int = 0) -> Parts:
    """Cut the file into three parts.

    Args:
        how: "shuffled" draws 1257, 180 and 360 images at random, so that a writer stands in all three
            parts; "forms" takes whole forms in their order, ten, one and three.
        seed: of the shuffle.

    Returns:
        The three lists of places.

    Raises:
        ValueError: if there is no such split.
    """
    doors.one_of("how", how, SPLITS)
    if how == "forms":
        return Parts(*np.split(np.arange(COUNT), [FORMS[10], FORMS[11]]))
    order = np.random.default_rng(seed).permutation(COUNT)
    return Parts(*np.split(order, [1257, 1437]))


def binary(images: np.ndarray) -> np.ndarray:
    """Ink or paper: 1 where at least half of a pixel's dots are ink.

    Args:
        images: grey levels 0..16, any shape.

    Returns:
        Integers 0 and 1, the same shape.
    """
    return (np.asarray(images) >= 8).astype(int)


def small(images: np.ndarray) -> np.ndarray:
    """Pictures of 4 x 4 pixels, ink or paper: so few that every possible one can be listed.

    Args:
        images: grey levels, shape (N, 8, 8).

    Returns:
        Integers 0 and 1, shape (N, 4, 4): 1 where the mean of a square of four pixels is at least 8.

    Raises:
        ValueError: if the images are not 8 x 8.
    """
    doors.shape("images", images, ("N", SIDE, SIDE))
    return (images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)) >= 8).astype(int)


def _unpacked(words: np.ndarray, base: int, together: int) -> np.ndarray:
    """The digits of numbers in a base, the least first."""
    weights = np.array([base**k for k in range(together)], np.uint64)
    return (words[:, None] // weights % np.uint64(base)).astype(int).ravel()
