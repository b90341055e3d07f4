"""A companion library for the course on recurrent neural networks.

``rnncourse.reference`` is NumPy with every gradient derived by hand; ``rnncourse.gpu`` is
PyTorch with the same names. Neither is imported here: ``import rnncourse`` costs next to nothing.
"""

__version__ = "0.1.0"
