"""Feature tables: what is known of an entity at a moment, for serving and for training.

``tables`` says what a table holds and ``catalogue`` keeps the definitions in the store; ``online``
answers requests from the store, ``writing`` fills it, ``history`` keeps every row ever written in
Parquet files, and ``asof`` joins those to the rows of a training set, never looking into the future.
"""
