"""What takes hours and is run by hand: `docs/soak.md` lists each program with its figures and their date."""
