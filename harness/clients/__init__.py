"""How operations of clients reach the nodes: sessions, the driver in real time, HTTP."""
