SELECT position, recorded FROM events ORDER BY position DESC LIMIT 1
