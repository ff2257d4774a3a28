"""Who may do what: the scope of each route, credentials, API keys, quotas, browsers, the audit log.

``scopes`` says what a request needs, ``presented`` what it shows, ``gate`` brings both together before
the body is read.  ``passwords``, ``keys`` and ``key_ring`` know what is right, ``recall`` what was right a
moment ago; ``throttle`` slows guessing, ``quota`` counts rows, ``browsers`` refuses what a foreign page
has a browser send, ``audit`` writes down who changed what.
"""
