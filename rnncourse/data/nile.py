"""The annual flow of the Nile at Aswan, 1871 to 1970: a hundred numbers, with a fall near 1898.

Source: G. W. Cobb, "The problem of the Nile: conditional solution to a changepoint problem", Biometrika
65 (1978), 243-251; the same numbers come with R and with statsmodels, which calls them public domain.
"""

import hashlib

import numpy as np

LICENCE = "public domain"
FIRST_YEAR = 1871
SHA256 = "25892e7b41e535786efb76b2eda8d09772694c6cc3c8b20f03a70064448b026f"

_FLOW = """
1120 1160  963 1210 1160 1160  813 1230 1370 1140  995  935 1110  994 1020  960 1180  799  958 1140
1100 1210 1150 1250 1260 1220 1030 1100  774  840  874  694  940  833  701  916  692 1020 1050  969
 831  726  456  824  702 1120 1100  832  764  821  768  845  864  862  698  845  744  796 1040  759
 781  865  845  944  984  897  822 1010  771  676  649  846  812  742  801 1040  860  874  848  890
 744  749  838 1050  918  986  797  923  975  815 1020  906  901 1170  912  746  919  718  714  740
"""


def flow() -> tuple[np.ndarray, np.ndarray]:
    """The years and the flow of each, in units of a hundred million cubic metres.

    Returns:
        Years and flow, shape (100,) each, float64.

    Raises:
        ValueError: if the numbers are not those that were published.
    """
    text = " ".join(_FLOW.split())
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        raise ValueError("flow: the numbers of the Nile have been changed")
    numbers = np.array(text.split(), dtype=float)
    return FIRST_YEAR + np.arange(len(numbers), dtype=float), numbers
