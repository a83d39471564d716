"""Reading files: bytes of a known format in, structured blocks out.

Everything that touches a stranger's bytes runs in `knowledge.parsing.child`, a process with limits that may be
killed; `runner` starts it. Nothing in this package imports Django, so that the child starts fast.
"""
