"""Access control: the tokens of a node, and the requests that each token permits.

The shells call it before they serve a request. It must never store, log or show a secret.
"""
