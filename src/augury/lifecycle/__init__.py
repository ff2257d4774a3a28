"""The life of models, in the words of TF Serving.

A *source* states the whole wanted set; a *policy* is a pure function from snapshots to the next
action; a *harness* is one version's state machine; the *manager* decides and the *loader* acts; the
request path sees only *handles*.  A servable is opaque here: the manager loads, leases and closes
it, and need not know that batching exists.
"""
