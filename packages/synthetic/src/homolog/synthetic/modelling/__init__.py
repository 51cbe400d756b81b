"""Closed surfaces that categories, furniture and occluders are modelled with."""
