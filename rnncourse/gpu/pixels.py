"""Models of images to train: a pixel at a time, each from those before it."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rnncourse import doors, raster
from rnncourse.diagonal_params import DiagonalParams, init_diagonal, mirror
from rnncourse.gpu import diagonal, lstm
from rnncourse.gpu.training import Batch

RASTER = {"rnn": nn.RNN, "lstm": nn.LSTM}
KINDS = (*RASTER, "diagonal")


class PixelRNN(nn.Module):
    """Images in, logits of every pixel out; those of a pixel never see it or a later one.

    The step of a pixel is given embeddings of two pixels before it and of its place. Kinds "rnn" and "lstm" read in
    raster order: the pixel read just before, and the one above. Kind "diagonal" reads from the upper left corner
    (left neighbour, and the one above) and from the upper right one; this way is given the one above and the one
    to the left of that, so that nothing of its own row comes in.

    Args:
        kind: "rnn" (tanh), "lstm" or "diagonal".
        shape: M rows and N columns.
        levels: V, values of a pixel.
        hidden: H, the number of hidden units, of each way where there are two.
        features: K, the length of each of the three embeddings.
        dropout: share of the states' entries hidden in training.
        blur: share of the features' entries hidden in training.
        seed: of the initial weights.

    Raises:
        ValueError: if the kind is unknown or a size is less than 1.
    """

    def __init__(self, kind: str, shape=(8, 8), levels=17, hidden=128, features=32, dropout=0.0, blur=0.0, seed=0):
        super().__init__()
        doors.one_of("kind", kind, KINDS)
        sizes = [("rows", shape[0]), ("columns", shape[1]), ("levels", levels), ("hidden", hidden)]
        for name, size in [*sizes, ("features", features)]:
            doors.at_least(name, size, 1)
        self.kind, self.shape, self.levels = kind, tuple(shape), levels
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.left, self.above = nn.Embedding(levels + 1, features), nn.Embedding(levels + 1, features)
            self.place = nn.Embedding(shape[0] * shape[1], features)
            self.readout = nn.Linear(hidden * (1 + (kind == "diagonal")), levels)
            self.dropout, self.blur = nn.Dropout(dropout), nn.Dropout(blur)
            self._start(features, hidden, seed)

    def _start(self, features: int, hidden: int, seed: int) -> None:
        if self.kind == "diagonal":
            rng = np.random.default_rng(seed)
            for way in ("ahead", "behind"):
                start = init_diagonal(rng, 3 * features, hidden)
                parts = [nn.Parameter(torch.as_tensor(array, dtype=torch.float32)) for array in start]
                setattr(self, way, nn.ParameterList(parts))
            return
        self.recurrence = RASTER[self.kind](3 * features, hidden)
        for block in self.recurrence.weight_hh_l0.split(hidden):
            nn.init.orthogonal_(block)
        if self.kind == "lstm":
            nn.init.zeros_(self.recurrence.bias_ih_l0)
            nn.init.zeros_(self.recurrence.bias_hh_l0)
            nn.init.ones_(self.recurrence.bias_ih_l0[hidden : 2 * hidden])  # gates in the order i, f, g, o

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Say what every pixel may be.

        Args:
            pixels: integers 0..V-1 in raster order, shape (M N, B).

        Returns:
            Logits, shape (M N, B, V): entry k is made from the pixels before k.
        """
        image = pixels.reshape(*self.shape, -1)
        above = moved(image, 1, 0, self.levels)
        if self.kind == "diagonal":
            over = self._features(moved(image, 1, 1, self.levels), above)
            fed = self._features(moved(image, 0, 1, self.levels), above)
            ahead = diagonal.run(lstm.plain(), DiagonalParams(*self.ahead), fed)
            behind = mirror(diagonal.run(lstm.plain(), DiagonalParams(*self.behind), mirror(over)))
            states = torch.cat([ahead, behind], dim=3).flatten(0, 1)
        else:
            before = moved(pixels[:, None], 1, 0, self.levels)  # at a row's beginning, the end of the row above
            states, _ = self.recurrence(self._features(before.reshape(image.shape), above).flatten(0, 1))
        return self.readout(self.dropout(states))

    def _features(self, left: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        """Three embeddings side by side, shape (M, N, B, 3 K)."""
        place = self.place.weight.reshape(*self.shape, 1, -1).expand(-1, -1, left.shape[2], -1)
        return self.blur(torch.cat([self.left(left), self.above(above), place], dim=3))


def moved(image: torch.Tensor, down: int, right: int, outside: int) -> torch.Tensor:
    """Move images, filling what comes in.

    Args:
        image: integers, shape (M, N, B).
        down: rows.
        right: columns.
        outside: what comes in.

    Returns:
        The same shape; entry (i, j) is pixel (i - down, j - right).
    """
    M, N, _ = image.shape
    padded = nn.functional.pad(image, (0, 0, right, 0, down, 0), value=outside)
    return padded[:M, :N]


def loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, carry=None):
    """Mean cross-entropy of a pixel, in nats, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`PixelRNN`.
        inputs: pixels, shape (M N, B).
        targets: the same pixels.
        carry: no use: every image begins anew.

    Returns:
        ``(loss, None)``.
    """
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()), None


def shuffled(images: np.ndarray, size: int, seed: int = 0) -> Callable[[int], Batch]:
    """Images in random batches, every one once before any comes twice, by the number of the update.

    Args:
        images: integers, shape (B, M, N).
        size: images of a batch; what does not fill the last of a round is left out.
        seed: of the order.

    Returns:
        From the number of an update to its batch.

    Raises:
        ValueError: if there are fewer images than a batch holds, or they are no integers.
    """
    doors.at_least("size", size, 1)
    pixels = torch.from_numpy(raster.sequence(raster.checked(images)).copy())
    rounds = pixels.shape[1] // size
    if not rounds:
        raise ValueError(f"size: expected at most {pixels.shape[1]}, the number of images, got {size}")

    def batch(step: int) -> Batch:
        order = np.random.default_rng([seed, step // rounds]).permutation(pixels.shape[1])
        chosen = pixels[:, order[step % rounds * size :][:size]]
        return Batch(chosen, chosen)

    return batch


@torch.no_grad()
def fill(model: PixelRNN, arrays: tuple) -> PixelRNN:
    """Put trained weights into a model.

    Args:
        model: of the same kind and sizes.
        arrays: one for each of its parameters, in their order; ``rnncourse.weights`` reads them.

    Returns:
        The same model.

    Raises:
        ValueError: if there are more or fewer, or a shape differs.
    """
    parts = list(model.parameters())
    if len(arrays) != len(parts):
        raise ValueError(f"arrays: expected {len(parts)}, got {len(arrays)}")
    for place, (part, array) in enumerate(zip(parts, arrays, strict=True)):
        doors.shape(f"arrays[{place}]", array, tuple(part.shape))
        part.copy_(torch.as_tensor(array))
    return model


@torch.no_grad()
def log_conditionals(model: PixelRNN, images: np.ndarray, size: int = 4096) -> np.ndarray:
    """What a model says of every value of every pixel, given those before it.

    Args:
        model: the model, put into evaluation mode.
        images: integers, shape (B, M, N).
        size: images read at a time; it changes nothing but the memory needed.

    Returns:
        Logarithms of probabilities, float64, shape (B, M, N, V).

    Raises:
        ValueError: if the images are not of the model's shape, or a value is none of 0..V-1.
    """
    images = raster.checked(images, model.levels)
    doors.shape("images", images, ("B", *model.shape))
    doors.at_least("the number of images", len(images), 1)
    model.eval()
    device, found = next(model.parameters()).device, []
    for part in np.array_split(images, max(1, math.ceil(len(images) / size))):
        logits = model(torch.tensor(raster.sequence(part), device=device)).double()
        found.append(torch.log_softmax(logits, dim=2).permute(1, 0, 2).cpu().numpy())
    return np.concatenate(found).reshape(*images.shape, model.levels)


def bits(model: PixelRNN, images: np.ndarray) -> float:
    """Bits per dimension, :eq:`eq-bits-per-dimension`.

    Args:
        model: the model, put into evaluation mode.
        images: integers, shape (B, M, N).

    Returns:
        The mean over images and pixels of -log2 p of what is there.
    """
    log_p = log_conditionals(model, images)
    return float(-np.take_along_axis(log_p, np.asarray(images)[..., None], axis=3).mean() / math.log(2))
