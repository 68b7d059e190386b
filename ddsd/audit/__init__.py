"""The record of who changed what: rows are added and never altered."""
