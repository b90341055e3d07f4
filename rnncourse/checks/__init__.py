"""What the exercise notebooks call: a verdict on an answer, and where it can be had, its likely mistake."""
