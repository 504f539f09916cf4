SELECT id_key, position, before, after, evidence FROM ids WHERE id_key >= ?1 ORDER BY id_key LIMIT 64
