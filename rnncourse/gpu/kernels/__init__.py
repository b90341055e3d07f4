"""Fused kernels in Triton: all T steps of a recurrence in one launch, the recurrent weights loaded once.

A program owns some rows of the batch. It loads the recurrent weights once, keeps the state to itself, and walks
through time; nothing but inputs and results crosses the chip's edge. Each file below has one cell, forwards and
backwards, by hand. ``gpu.fused`` is their door; nothing here imports Triton before it is asked to run.
"""
