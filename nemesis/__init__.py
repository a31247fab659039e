"""What goes wrong: pure fault shapes, faults that apply and heal, schedules that say when, and what environments must offer."""
