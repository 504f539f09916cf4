SELECT position FROM ids
WHERE position >= (SELECT min(position) FROM events) AND position NOT IN (SELECT position FROM events)
UNION
SELECT position FROM ids GROUP BY position HAVING count(*) > 1
ORDER BY position LIMIT 100
