"""The sentiment of tweets: fetch, predict, remember, add up.

A question travels ``api`` → ``service`` → ``urls`` → ``ledger`` (seen before?) → ``sources`` (else fetch it)
→ the model; what it answers waits in the service's buffer and is laid down by ``ledger``, which keeps
the sums that ``aggregates`` and ``rising`` read.  ``records`` and ``topics`` say what is kept and under
what, ``sweeper`` ends it after its retention; ``bulk`` scores whole files.
"""
