"""For each exercise notebook, a module of its name.

POINTS and GRADED say what is graded; WAITING, what a fresh notebook prints beside the checks' verdicts.
MUTANTS maps (solution cell, graded cell) to (old, new, what the student is told); REWRITES, to a
solution written another way; NARROW, to a change that the visible check accepts and the hidden ones do not.
"""
