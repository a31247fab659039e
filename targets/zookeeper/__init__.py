"""ZooKeeper (Debian's libzookeeper-java, 3.8 and later) as a target; see target.py."""
