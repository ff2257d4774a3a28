"""Requests at their times: arrivals are drawn in advance, worker processes send them.

``arrivals`` draws, ``wire`` writes and reads HTTP/1.1, ``generator`` is the loop of one worker process,
``worker`` that process, ``fleet`` all of them, seen from the process that measures.
"""
