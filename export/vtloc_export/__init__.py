"""Turn a trained localizer and its encoders into a bundle, and a bundle into engines."""
