SELECT block FROM zones WHERE block >= ?1 AND high >= ?2 AND low < ?3 ORDER BY block LIMIT 1
