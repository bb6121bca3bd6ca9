"""``python -m fairfix``."""

from fairfix.cli.app import main

main()
