"""The sentiment of tweets: fetch, predict, remember, aggregate.

A request travels ``routes`` → ``urls`` → ``records`` (seen before?) → ``sources`` (else fetch it) →
``service`` (predict) → ``schemas``, and after the answer has been sent ``topics`` and ``records``
lay the prediction down, where ``aggregates`` finds it.
"""
