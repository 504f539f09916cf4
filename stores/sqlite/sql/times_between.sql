SELECT recorded, time FROM events WHERE position >= ?1 AND position < ?2
