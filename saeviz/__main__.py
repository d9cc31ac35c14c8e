"""`python -m saeviz` is `saeviz`."""

from saeviz.cli import main

main()
