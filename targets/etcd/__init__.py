"""etcd (Debian's etcd-server, 3.4 and later) as a target; see target.py."""
