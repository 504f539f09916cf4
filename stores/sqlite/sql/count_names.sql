SELECT n.name, count(*) AS many FROM terms t JOIN names n ON n.name_id = t.term
WHERE t.term > 0 GROUP BY n.name ORDER BY many DESC, n.name
