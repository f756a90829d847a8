"""The rules of a migration: what is read, changed and checked, on which cluster, in which order.

Handlers import this package; it imports no handler. Domain functions take their clients as
arguments, and `snapferry.clients` is the only module that makes them.
"""
