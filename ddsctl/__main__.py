"""``python -m ddsctl``."""

from ddsctl.app import main

main()
