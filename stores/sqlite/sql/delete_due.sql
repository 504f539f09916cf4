DELETE FROM due WHERE tenant = ?1 AND queue = ?2 AND id = ?3
