"""``python -m ipsecfast``: the same as the ``ipsecfast`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
