UPDATE leases SET owner = NULL, node = NULL WHERE name = ?1 AND owner = ?2
