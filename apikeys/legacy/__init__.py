"""Keys that came from a predecessor, and go on working unchanged until a date.

``schemes`` says which header is whose and until when, ``texts`` how a text is found and
checked, ``verify`` who presents one; ``importer`` takes keys over from ``sources``.
"""
