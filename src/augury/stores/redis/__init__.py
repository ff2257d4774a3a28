"""Keep items and tallies in a Redis that several processes and machines share.

``url`` reads the URL and opens, ``store`` is the store, ``tallies`` its sums and ranks with the
script that commits them; ``loader`` makes one question of many reads.  Below them ``link`` carries
commands to the server and knows whether it can be reached, over ``connections`` (the pool),
``breaker`` (when to try again) and ``deadline`` (how long to wait).
"""
