"""The rules of a migration: what is read, changed and checked, on which cluster, in which order.

Handlers import this package; it imports no handler. Domain functions take their clients as
arguments, and `snapferry.clients` is the only module that makes them.
"""

import gc

# What clusters answer doesn't refer to itself, so that counting references frees it. Looking for
# circles among it again and again takes a quarter of the time that thousands of indices take.
gc.set_threshold(100_000, 50, 100)
