"""The page of the report: its sections as data, and the template that shows them."""
