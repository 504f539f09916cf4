SELECT queue, count(*) FROM due GROUP BY queue ORDER BY queue
