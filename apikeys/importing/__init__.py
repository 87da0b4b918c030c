"""Import keys of other packages from their tables or from a CSV file.

The verification of imported keys in their old header is in ``apikeys.legacy``.
"""
