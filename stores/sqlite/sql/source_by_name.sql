SELECT source_id FROM sources WHERE name = ?1
