"""Figures: pure functions from data frames to Plotly figures. No store, no callback, no clock."""
