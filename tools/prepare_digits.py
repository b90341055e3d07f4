"""Write rnncourse/data/digits.bin from scikit-learn's copy of the handwritten digits of UCI.

    pip install scikit-learn==1.9.1
    python tools/prepare_digits.py

scikit-learn is needed here and nowhere else. Its file is the test part of "Optical Recognition of Handwritten
Digits" (E. Alpaydin and C. Kaynak, 1998; UCI Machine Learning Repository, CC BY 4.0); scikit-learn's copy comes
under BSD 3-Clause. The order of the images is kept, for it tells who wrote them.

Fifteen pixels of 17 levels fit into 62 bits, so they are written as one number of 64; after them the labels,
nineteen decimal digits in a number. No compression and no time stamp: the same bytes on every machine.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

VERSION = "1.9.1"
TARGET = Path(__file__).resolve().parent.parent / "rnncourse" / "data" / "digits.bin"


def packed(values: np.ndarray, base: int, together: int) -> bytes:
    """Write ``together`` digits of a base into each number of 64 bits, the first as the least."""
    padded = np.zeros(-(-values.size // together) * together, np.uint64)
    padded[: values.size] = values.ravel()
    weights = np.array([base**k for k in range(together)], np.uint64)
    return (padded.reshape(-1, together) * weights).sum(axis=1, dtype=np.uint64).astype("<u8").tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET)
    given = parser.parse_args()
    import sklearn
    from sklearn.datasets import load_digits

    if sklearn.__version__ != VERSION:
        raise SystemExit(f"expected scikit-learn {VERSION}, found {sklearn.__version__}")
    digits = load_digits()
    content = packed(digits.images.astype(np.uint64), 17, 15) + packed(digits.target.astype(np.uint64), 10, 19)
    given.out.write_bytes(content)
    print(f"wrote {given.out}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
