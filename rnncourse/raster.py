"""Images as sequences: the order of reading, and what a pixel may see before it is drawn.

Images are integers of shape (B, M, N), M rows of N pixels, or (M, N) for one. Raster order reads the rows from
the top, each from the left. Only indices here, so both floors use it.
"""

import numpy as np

from rnncourse import doors


def sequence(images: np.ndarray) -> np.ndarray:
    """Read images row by row.

    Args:
        images: shape (B, M, N).

    Returns:
        Shape (M N, B): time first, as everywhere in this course.

    Raises:
        ValueError: if there are not three axes.
    """
    doors.shape("images", images, ("B", "M", "N"))
    return images.reshape(len(images), -1).T


def images(sequences: np.ndarray, rows: int) -> np.ndarray:
    """Write sequences row by row; undoes :func:`sequence`.

    Args:
        sequences: shape (M N, B).
        rows: M.

    Returns:
        Shape (B, M, N).

    Raises:
        ValueError: if there are not two axes, or the rows do not come out even.
    """
    doors.shape("sequences", sequences, ("MN", "B"))
    doors.at_least("rows", rows, 1)
    if len(sequences) % rows:
        raise ValueError(f"rows: {len(sequences)} pixels do not fill {rows} rows")
    return sequences.T.reshape(sequences.shape[1], rows, -1)


def left(images: np.ndarray, outside: int) -> np.ndarray:
    """Each pixel's left neighbour: the image moved one pixel to the right.

    Args:
        images: integers, shape (B, M, N).
        outside: what stands where there is no neighbour.

    Returns:
        The same shape; entry (i, j) is pixel (i, j - 1).
    """
    moved = np.full(np.shape(images), outside)
    moved[:, :, 1:] = images[:, :, :-1]
    return moved


def above(images: np.ndarray, outside: int) -> np.ndarray:
    """Each pixel's upper neighbour: the image moved one pixel down.

    Args:
        images: integers, shape (B, M, N).
        outside: what stands where there is no neighbour.

    Returns:
        The same shape; entry (i, j) is pixel (i - 1, j).
    """
    moved = np.full(np.shape(images), outside)
    moved[:, 1:] = images[:, :-1]
    return moved


def checked(images, levels: int | None = None) -> np.ndarray:
    """Check that something is a batch of images.

    Args:
        images: integers, shape (B, M, N).
        levels: V, if it is known: then every pixel must be one of 0..V-1.

    Returns:
        The same, int64.

    Raises:
        ValueError: if there are not three axes, no integers, or values that no pixel has.
    """
    images = np.asarray(images)
    doors.shape("images", images, ("B", "M", "N"))
    if images.dtype.kind not in "iu":
        raise ValueError(f"images: expected integers, got {images.dtype}")
    if levels is not None and images.size and not (images.min() >= 0 and images.max() < levels):
        raise ValueError(f"images: expected values 0..{levels - 1}, got {images.min()}..{images.max()}")
    return images.astype(np.int64)


def past(rows: int, columns: int) -> np.ndarray:
    """Which pixels come before which.

    Args:
        rows: M.
        columns: N.

    Returns:
        Booleans, shape (M, N, M, N): entry (i, j, k, l) says that pixel (k, l) is read before pixel (i, j).

    Raises:
        ValueError: if a size is less than 1.
    """
    doors.at_least("rows", rows, 1)
    doors.at_least("columns", columns, 1)
    place = np.arange(rows * columns)
    return (place[None, :] < place[:, None]).reshape(rows, columns, rows, columns)


def quadrant(rows: int, columns: int) -> np.ndarray:
    """Which pixels lie above and to the left of which, itself not among them.

    Args:
        rows: M.
        columns: N.

    Returns:
        Booleans, shape (M, N, M, N): entry (i, j, k, l) says that k <= i and l <= j, but not both equal.

    Raises:
        ValueError: if a size is less than 1.
    """
    i, j, k, l = np.indices((rows, columns, rows, columns))
    return (k <= i) & (l <= j) & past(rows, columns)


def antidiagonals(rows: int, columns: int) -> list:
    """The pixels of each antidiagonal.

    Args:
        rows: M.
        columns: N.

    Returns:
        M + N - 1 pairs of rows i and columns j with i + j = d, integers; rows ascend.

    Raises:
        ValueError: if a size is less than 1.
    """
    doors.at_least("rows", rows, 1)
    doors.at_least("columns", columns, 1)
    found = [np.arange(max(0, d - columns + 1), min(rows, d + 1)) for d in range(rows + columns - 1)]
    return [(i, d - i) for d, i in enumerate(found)]


def every(rows: int, columns: int, levels: int = 2) -> np.ndarray:
    """List every image there is.

    Args:
        rows: M.
        columns: N.
        levels: V, values of a pixel.

    Returns:
        Integers, shape (V^(M N), M, N); the last pixel changes fastest.

    Raises:
        ValueError: if a size is less than 1 or there are more than four million.
    """
    doors.at_least("rows", rows, 1)
    doors.at_least("columns", columns, 1)
    return fillings(rows * columns, levels).reshape(-1, rows, columns)


def fillings(pixels: int, levels: int = 2) -> np.ndarray:
    """List every way to fill some pixels.

    Args:
        pixels: K.
        levels: V, values of a pixel.

    Returns:
        Integers, shape (V^K, K); the last pixel changes fastest.

    Raises:
        ValueError: if a size is out of range or there are more than four million.
    """
    doors.at_least("pixels", pixels, 0)
    doors.at_least("levels", levels, 1)
    if levels**pixels > 4_000_000:
        raise ValueError(f"pixels: {levels}^{pixels} images are too many to list")
    return np.indices((levels,) * pixels).reshape(pixels, -1).T if pixels else np.zeros((1, 0), int)
