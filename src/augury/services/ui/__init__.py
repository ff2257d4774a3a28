"""The pages for people: ``/`` tries a text or tweet, ``/ui`` is the dashboard.

``routes`` and ``assets`` serve the plain files of ``static/``; ``sampler`` keeps the server's recent
past (``readings``, ``quantiles``), which ``live`` tells as JSON and server-sent events.  The pages need
no build step, load nothing from elsewhere, and know tweets by the public API only.
"""
