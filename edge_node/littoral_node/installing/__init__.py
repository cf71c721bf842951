"""`littoral-node install`, `upgrade` and `uninstall`: an environment of its own, one writable folder, a hardened systemd unit.

    PREFIX/VERSION/         a virtual environment, whole once VERSION/release.json is in it
    PREFIX/current          link to the one that runs; switching it is one rename
    PREFIX/install.json     what was installed, for `upgrade` and `uninstall`

All of it but trial.py needs the standard library alone, so that it runs out of a wheel that is not installed, with a system's
Python that refuses pip (PEP 668):

    PYTHONPATH=littoral-0.1.0-py3-none-any.whl python3 -m littoral_node.installing install --from littoral-0.1.0-py3-none-any.whl
"""
