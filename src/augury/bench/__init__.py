"""A load generator, and what it measures.

``run`` is the way in, for ``augury bench`` and for ``benchmarks/``.  ``load/`` sends requests at their
times, ``measure/`` counts what came of them, ``dialects/`` speaks to servers (ours and others), and
``report/`` shows it.  Nothing here knows how our server works: it drives any.
"""
