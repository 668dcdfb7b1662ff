"""`python -m nightshift` is the command `nightshift`."""

from nightshift.cli import main

if __name__ == "__main__":
    main()
