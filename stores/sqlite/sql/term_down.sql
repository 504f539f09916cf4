SELECT position FROM terms WHERE term = ?1 AND position <= ?2 ORDER BY position DESC LIMIT ?3
