"""Runs of load: ``level`` at one rate, ``rising`` at several, ``rest`` between them."""
