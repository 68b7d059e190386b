"""Files of a project: registration, listing, removal, and the grants with which bytes travel."""
