"""``python -m vtloc.timelines`` trains the default bundle's localizer."""

from vtloc.timelines.command import main

if __name__ == "__main__":
    main()
