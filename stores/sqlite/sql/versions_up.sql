SELECT version, position FROM events INDEXED BY events_by_stream
WHERE stream_id = ?1 AND version >= ?2 ORDER BY version LIMIT ?3
