"""Which remembered row goes first when a bound is reached: a file a policy, a line each in ``registry``.

Pure: no clock, no sizes, no values.  A policy knows keys and their expiry and answers one question.
"""
