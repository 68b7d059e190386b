"""The admin plane's routes, a file per noun: parse, open a transaction, call one verb, render."""
