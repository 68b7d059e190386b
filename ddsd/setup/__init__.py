"""Setting up an installation: questions, tries of each answer, files, a trial delivery, the first people."""
