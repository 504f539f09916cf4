SELECT position, stream_id, version, name_id, recorded, time, header, payload FROM events WHERE position > ?1 AND position < ?2 ORDER BY position
