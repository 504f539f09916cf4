SELECT stream_id, version, position FROM events INDEXED BY events_by_stream ORDER BY stream_id, version
