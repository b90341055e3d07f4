"""The diagram of the LSTM cell: what it holds, and where its gradients run."""

import numpy as np
from test_figures import ids, labels

from rnncourse import figures


def test_the_cell_has_four_readers_of_the_sum_and_three_products():
    fig = figures.lstm_cell()
    found = ids(fig)
    assert found["node-cell"] == found["node-hidden"] == 2 and found["node-input"] == 1
    assert found["node-output"] == 3  # the gates
    assert found["node-truth"] == 4  # three products and a sum
    assert found["arrow-forward"] == 16 and found["arrow-backward"] == 0
    assert {"$f_t$", "$i_t$", "$o_t$", r"$\tilde{c}_t$", "$c_t$", "$h_t$", "keep", "write", "show"} <= set(labels(fig))
    assert labels(fig).count(r"$\times$") == 3


def test_gradients_run_back_along_the_memory_alone():
    fig = figures.lstm_cell(backward=True)
    assert ids(fig)["arrow-backward"] == 5 and ids(fig)["arrow-forward"] == 16
    back = fig.findobj(lambda artist: artist.get_gid() == "arrow-backward")
    level = [line for line in back if np.ptp(line.get_ydata()) < 1e-9]
    assert len(level) == 3 and all(np.diff(line.get_xdata()) < 0 for line in level)
    assert {r"$\odot f_t$", "$s_t$", "$s^c_t$"} <= set(labels(fig))
