SELECT position, stream_id, version, name_id, recorded, time, header, payload FROM events WHERE stream_id = ?1 AND version < ?2 ORDER BY version DESC
