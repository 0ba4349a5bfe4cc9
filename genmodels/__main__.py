"""The console script: ``genmodels`` and ``python -m genmodels``."""

from genmodels.signals import program


def main() -> None:
    """Entry point."""
    with program():  # before the imports that take time, so that Ctrl-C is no traceback
        from genmodels import cli

        cli.main()


if __name__ == "__main__":
    main()
