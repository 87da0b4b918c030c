"""The views of the settings pages, one module for each topic.

Every change goes through ``apikeys.lifecycle``: no view writes a key itself.
"""
