"""The environment `ssh`: nodes are processes on machines that are reached by SSH. This package loads nothing by itself: a part
of it, `guard`, runs on those machines, where there is no paramiko."""
