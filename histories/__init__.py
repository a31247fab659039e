"""What happened: operations, histories, their file formats, and the rules they obey."""
