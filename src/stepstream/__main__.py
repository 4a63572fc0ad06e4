"""`python -m stepstream`: the command line."""

import sys

from stepstream.cli import main

sys.exit(main())
