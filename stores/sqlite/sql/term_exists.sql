SELECT 1 FROM terms WHERE term = ?1 AND position = ?2
