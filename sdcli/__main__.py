"""`python -m sdcli`."""

import sys

from sdcli.cli import main

sys.exit(main())
