"""All drawing of the command line: matches, dense fields, features, samples, and the charts of reports."""
