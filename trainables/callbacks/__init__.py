"""Callbacks that report to a sweep, one module a library; each is imported only where its library is."""
