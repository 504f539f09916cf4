SELECT name FROM sources WHERE source_id = ?1
