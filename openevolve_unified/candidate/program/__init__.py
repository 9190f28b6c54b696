"""The operator program: a traced candidate as plain data, validated, interpreted and counted."""
