INSERT INTO events (position, stream_id, version, name_id, recorded, time, header, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
