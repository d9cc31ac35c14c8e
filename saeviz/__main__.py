"""Run the command line as `python -m saeviz`."""

from saeviz.cli import main

main()
