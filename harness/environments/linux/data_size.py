"""How large a node's data directory may be, where it is a file system of its own (`-e data_mib=64`)."""

MIB_MIN, MIB_MAX = 4, 4096


def checked_size(data_mib: int) -> None:
    """Raises ValueError for a size that is none. 0: the directory is not bounded."""
    if data_mib and not MIB_MIN <= data_mib <= MIB_MAX:
        raise ValueError(f"data_mib is {data_mib}; it must be 0 or from {MIB_MIN} to {MIB_MAX}")
