SELECT low, high FROM zones WHERE block = ?1
