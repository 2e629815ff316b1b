"""`python -m fedstyle_secure`: the command line."""

from fedstyle_secure.cli import main

if __name__ == "__main__":
    main()
