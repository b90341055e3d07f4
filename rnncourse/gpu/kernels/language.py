"""Triton if it is installed; else names to read the kernels by: they can be imported and shown, and not run."""

from types import SimpleNamespace

try:
    import triton
    from triton import language as tl

    jit, INTERPRETED = triton.jit, bool(triton.knobs.runtime.interpret)  # what TRITON_INTERPRET=1 asks for
except ImportError:  # Triton has wheels for Linux alone
    triton, tl, INTERPRETED = None, SimpleNamespace(constexpr=object), False

    def jit(function):
        """Leave a function as it is."""
        return function


def written(kernel):
    """The Python function that a kernel was written as, to be shown on a page."""
    return getattr(kernel, "fn", kernel)
