"""
The client through real servers that nobody here wrote: nginx, Apache httpd, HAProxy, lighttpd.

Here: each of them as a reverse proxy before the sandbox, started as it comes from the
distribution's package. Not here: faults, which the sandbox makes better (`tests/client`).
"""
