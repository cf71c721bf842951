"""`littoral-node install`, `upgrade` and `uninstall`: a virtual environment, one writable folder, a hardened systemd unit.

    PREFIX/VERSION/         a virtual environment; complete when it holds release.json
    PREFIX/current          a link to the environment that runs; one rename switches it
    PREFIX/install.json     the arguments of the install, for `upgrade` and `uninstall`

All modules but smoke_test.py need the standard library alone: they run from a wheel that is not installed, with a system's Python
that refuses pip (PEP 668):

    PYTHONPATH=littoral-0.1.0-py3-none-any.whl python3 -m littoral_node.installing install --from littoral-0.1.0-py3-none-any.whl
"""
