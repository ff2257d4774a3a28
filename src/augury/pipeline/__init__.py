"""The way of a request from tensors to tensors.

``engine`` leads it: model, validation, cache, transforms, queue.  ``servable`` is one loaded version
with all that belongs to it, ``transforms`` the declarative steps before and after the model.
"""
