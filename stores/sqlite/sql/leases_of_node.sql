SELECT 1 FROM leases WHERE node = ?1 AND owner IS NOT NULL
