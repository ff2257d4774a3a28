"""How servers are asked: one file for each dialect, found by name in ``registry``."""
