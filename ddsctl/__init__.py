"""The command line: everything an operator, a unit or a researcher does from a terminal."""
