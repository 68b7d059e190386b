"""The web pages: what somebody with a browser and a link from a mail needs, and nothing that shows data."""
