"""Watching what models do: for now, how good their answers are."""
