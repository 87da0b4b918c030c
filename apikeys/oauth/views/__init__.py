"""django-oauth-toolkit's endpoints, with what they lack."""
