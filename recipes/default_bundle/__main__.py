"""``python -m recipes.default_bundle`` trains the default bundle's localizer."""

from recipes.default_bundle.command import main

if __name__ == "__main__":
    main()
