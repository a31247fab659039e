"""What goes wrong: fault shapes, faults that apply and heal, schedules that say when, what environments must offer."""
